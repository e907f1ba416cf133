package api_test

import (
	"encoding/base64"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/pkg/api"
)

func TestJoinToken(t *testing.T) {
	want := api.JoinToken{Addresses: []string{"10.0.0.1:5678", "[2001:db8::1]:5678", "cp.example:5678"}, Authority: strings.Repeat("ab", 32), Token: "h.p.s", Mesh: "default", Name: "web-1"}
	s := want.String()
	if !regexp.MustCompile(`^weft1\.[A-Za-z0-9_-]+$`).MatchString(s) {
		t.Errorf("%q is not one plain word", s)
	}
	for _, in := range []string{s, "  " + s + "\n"} {
		got, err := api.ParseJoinToken(in)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestParseJoinTokenRefuses(t *testing.T) {
	ok := api.JoinToken{Addresses: []string{"10.0.0.1:5678"}, Authority: strings.Repeat("ab", 32), Token: "c2VjcmV0", Mesh: "default"}
	but := func(change func(*api.JoinToken)) string {
		t := ok
		change(&t)
		return t.String()
	}
	word := ok.String()
	for name, c := range map[string]struct{ in, want string }{
		"empty":           {" \n", "empty"},
		"a word":          {"hello", "does not begin with"},
		"dataplane token": {"eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "a dataplane token alone is not enough"},
		"newer":           {"weft2.abc", "newer version; upgrade weft-agent"},
		"cut short":       {word[:len(word)-9], "cut short"},
		"cut to nothing":  {"weft1.", "cut short"},
		"broken line":     {word[:20] + "\n" + word[20:], "white space inside"},
		"no base64":       {"weft1.a+b/c", "damaged"},
		"no json":         {"weft1." + base64.RawURLEncoding.EncodeToString([]byte("x")), "damaged"},
		"two values":      {"weft1." + base64.RawURLEncoding.EncodeToString([]byte(`{}{}`)), "damaged"},
		"no address":      {but(func(t *api.JoinToken) { t.Addresses = nil }), "names no address"},
		"bad address":     {but(func(t *api.JoinToken) { t.Addresses = []string{"10.0.0.1"} }), `"10.0.0.1" is not host:port`},
		"no authority":    {but(func(t *api.JoinToken) { t.Authority = "abcd" }), "lacks the hash"},
		"no token":        {but(func(t *api.JoinToken) { t.Token = "" }), "no dataplane token"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := api.ParseJoinToken(c.in)
			if !errors.Is(err, api.ErrJoinToken) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
			if strings.Contains(err.Error(), ok.Token) || !cmp.Equal(got, api.JoinToken{}) {
				t.Errorf("part of the token came back: %v, %+v", err, got)
			}
		})
	}
}

func FuzzParseJoinToken(f *testing.F) {
	f.Add(api.JoinToken{Addresses: []string{"a:1"}, Authority: strings.Repeat("00", 32), Token: "x", Mesh: "m"}.String())
	f.Add("weft1.e30")
	f.Fuzz(func(t *testing.T, s string) {
		j, err := api.ParseJoinToken(s)
		if err != nil {
			return
		}
		if again, err := api.ParseJoinToken(j.String()); err != nil || !cmp.Equal(again, j) {
			t.Errorf("%+v is read as %+v, %v", j, again, err)
		}
	})
}
