package host

import (
	"errors"
	"reflect"
	"testing"

	"github.com/weft-mesh/weft/pkg/proxy"
)

func TestGrantRoundTrip(t *testing.T) {
	id := proxy.ID{Mesh: "default", Name: "web-1"}
	tests := []struct {
		grant Grant
		want  string
	}{
		{Grant{ID: id}, "weft://default/dataplane/web-1"},
		{Grant{ID: id, Tags: map[string][]string{"kuma.io/service": {"web"}, "env": {"a", "b c&d=e"}}},
			"weft://default/dataplane/web-1?env=a&env=b+c%26d%3De&kuma.io%2Fservice=web"},
		{Grant{ID: id, Workload: "w", Token: "id-1"}, "weft://default/dataplane/web-1?%40token=id-1&%40workload=w"},
	}
	for _, tt := range tests {
		if got := tt.grant.URI(); got != tt.want {
			t.Errorf("URI %s, want %s", got, tt.want)
		}
		back, err := ParseGrant(tt.want)
		if err != nil || !reflect.DeepEqual(back, tt.grant) {
			t.Errorf("%s: %+v, %v; want %+v", tt.want, back, err, tt.grant)
		}
	}
}

func TestParseGrantRefuses(t *testing.T) {
	for _, text := range []string{
		"", "::", "weft://", "weft://default", "weft://default/dataplane/", "weft://default/dataplane/a/b", "weft:///dataplane/a",
		"spiffe://default/dataplane/a", "weft://u@default/dataplane/a", "weft://default/dataplane/a#x", "weft://default/dataplane/a?",
		"weft://default/dataplane/a?b=2&a=1", "weft://default/dataplane/a?a=2&a=1", "weft://default/dataplane/a?%zz",
		"weft://default/dataplane/%61", "WEFT://default/dataplane/a", "weft://default/x/../dataplane/a", "weft://default/dataplane/a?@other=1",
	} {
		if g, err := ParseGrant(text); !errors.Is(err, ErrGrant) {
			t.Errorf("%q: %+v, %v; want ErrGrant", text, g, err)
		}
	}
}

func FuzzParseGrant(f *testing.F) {
	f.Add("weft://default/dataplane/web-1?env=a&kuma.io%2Fservice=web")
	f.Add("weft://a%2fb/dataplane/%00")
	f.Fuzz(func(t *testing.T, text string) {
		g, err := ParseGrant(text)
		if err == nil && g.URI() != text {
			t.Errorf("%q is also %q", text, g.URI())
		}
	})
}
