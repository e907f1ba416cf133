package token_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/weft-mesh/weft/pkg/cp/store/memory"
	"github.com/weft-mesh/weft/pkg/cp/token"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/signing"
)

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

type world struct {
	*token.Issuer
	store *memory.Store
	now   time.Time
	key   *rsa.PrivateKey // of mesh default
}

// madeKeys are the signing keys of every world: making them takes long.
var madeKeys = sync.OnceValue(func() map[string][]byte {
	keys := map[string][]byte{}
	for _, of := range []string{"default", "other", "zone", "user"} {
		key, err := signing.NewKey()
		if err != nil {
			panic(err)
		}
		keys[of] = key
	}
	return keys
})

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{store: memory.New(), now: start}
	w.Issuer = &token.Issuer{Store: w.store, Now: func() time.Time { return w.now }}
	for _, name := range []string{"default", "other"} {
		put(t, w.store, mesh.Resource{Kind: mesh.MeshKind, Meta: mesh.Meta{Name: name}, Spec: new(mesh.MeshSpec)})
		w.secret(t, name, "dataplane-token-signing-key-"+name+"-1", madeKeys()[name])
		if err := w.Ensure(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	w.key = w.signingKey(t, "default", "1")
	return w
}

func put(t *testing.T, s *memory.Store, r mesh.Resource) {
	t.Helper()
	if old, err := s.Get(t.Context(), r.Key()); err == nil {
		r.Meta.Version = old.Meta.Version
	}
	if _, err := s.Put(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

func (w *world) secret(t *testing.T, meshName, name string, data []byte) {
	t.Helper()
	put(t, w.store, mesh.Resource{Kind: mesh.SecretKind, Meta: mesh.Meta{Mesh: meshName, Name: name}, Spec: &mesh.Secret{Data: data}})
}

func (w *world) signingKey(t *testing.T, meshName, serial string) *rsa.PrivateKey {
	t.Helper()
	r, err := w.store.Get(t.Context(), mesh.Key{Kind: "Secret", Mesh: meshName, Name: "dataplane-token-signing-key-" + meshName + "-" + serial})
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(r.Spec.(*mesh.Secret).Data)
	if block == nil || block.Type != "RSA PRIVATE KEY" {
		t.Fatalf("signing key is not PEM of type RSA PRIVATE KEY")
	}
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil || key.N.BitLen() != 2048 {
		t.Fatalf("signing key: %v, want RSA-2048", err)
	}
	return key
}

// forge signs whatever it is given.
func forge(t *testing.T, method jwt.SigningMethod, key any, header map[string]any, claims jwt.MapClaims) string {
	t.Helper()
	tok := jwt.NewWithClaims(method, claims)
	for k, v := range header {
		if v == nil {
			delete(tok.Header, k)
		} else {
			tok.Header[k] = v
		}
	}
	raw, err := tok.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func claims(change map[string]any) jwt.MapClaims {
	c := jwt.MapClaims{
		"Name": "web-1", "Mesh": "default", "jti": "id-1",
		"iat": start.Add(-5 * time.Second).Unix(), "nbf": start.Add(-5 * time.Second).Unix(), "exp": start.Add(time.Hour).Unix(),
	}
	for k, v := range change {
		if v == nil {
			delete(c, k)
		} else {
			c[k] = v
		}
	}
	return c
}

func TestIssuedTokenSaysWhatTheReferenceSays(t *testing.T) {
	w := newWorld(t)
	in := token.Claims{Name: "web-1", Mesh: "default", Tags: map[string][]string{"kuma.io/service": {"web"}}, Type: "dataplane", Workload: "w"}
	raw, err := w.Issue(t.Context(), in, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(raw, ".")
	part := func(n int) (m map[string]any) {
		b, err := base64.RawURLEncoding.DecodeString(parts[n])
		if err == nil {
			err = json.Unmarshal(b, &m)
		}
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	if h := part(0); h["alg"] != "RS256" || h["kid"] != "1" {
		t.Errorf("header %v, want alg RS256 and kid \"1\"", h)
	}
	c := part(1)
	for k, want := range map[string]any{
		"Name": "web-1", "Mesh": "default", "Type": "dataplane", "Workload": "w",
		"iat": float64(start.Unix() - 5), "nbf": float64(start.Unix() - 5), "exp": float64(start.Unix() + 3600),
	} {
		if c[k] != want {
			t.Errorf("claim %s is %v, want %v", k, c[k], want)
		}
	}
	if id, _ := c["jti"].(string); len(id) != 36 {
		t.Errorf("jti %q is no uuid", id)
	}
	out, err := w.Verify(t.Context(), raw, "default")
	if err != nil || out.Name != in.Name || out.Tags["kuma.io/service"][0] != "web" || out.Workload != "w" {
		t.Errorf("verified %+v, %v", out, err)
	}
}

// Every way to hold a wrong token: exactly the good ones pass. (F23)
func TestVerifyMatrix(t *testing.T) {
	w := newWorld(t)
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&w.key.PublicKey)})
	w.secret(t, "default", "dataplane-token-revocations-default", []byte("id-0, id-revoked\n"))
	one := map[string]any{"kid": "1"}
	rs := jwt.SigningMethodRS256
	tests := []struct {
		name, raw, want string
	}{
		{"good", forge(t, rs, w.key, one, claims(nil)), ""},
		{"good without mesh", forge(t, rs, w.key, one, claims(map[string]any{"Mesh": nil})), ""},
		{"expired", forge(t, rs, w.key, one, claims(map[string]any{"exp": start.Add(-time.Hour).Unix()})), "it expired on 2026-11-23 11:00:00 UTC: make a new one"},
		{"not valid yet", forge(t, rs, w.key, one, claims(map[string]any{"nbf": start.Add(time.Hour).Unix()})), "not valid before 2026-11-23 13:00:00 UTC: check the clocks"},
		{"no exp", forge(t, rs, w.key, one, claims(map[string]any{"exp": nil})), "it has no end"},
		{"exp of a wrong type", forge(t, rs, w.key, one, claims(map[string]any{"exp": "tomorrow"})), "it is no JWT"},
		{"exp beyond all numbers", forge(t, rs, w.key, one, claims(map[string]any{"exp": 1e300})), "it "},
		{"revoked", forge(t, rs, w.key, one, claims(map[string]any{"jti": "id-revoked"})), "it was revoked"},
		{"alg none", forge(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, one, claims(nil)), "not signed by mesh \"default\""},
		{"HS256 with the public key", forge(t, jwt.SigningMethodHS256, public, one, claims(nil)), "not signed by mesh \"default\""},
		{"RS512 with the right key", forge(t, jwt.SigningMethodRS512, w.key, one, claims(nil)), "not signed by mesh \"default\""},
		{"another's key", forge(t, rs, stranger, one, claims(nil)), "not signed by mesh \"default\""},
		{"unknown key", forge(t, rs, w.key, map[string]any{"kid": "7"}, claims(nil)), "not signed by mesh \"default\""},
		{"kid a number", forge(t, rs, w.key, map[string]any{"kid": 1}, claims(nil)), "kid must be a string"},
		{"kid absent", forge(t, rs, w.key, map[string]any{"kid": nil}, claims(nil)), "kid must be a string"},
		{"kid an array", forge(t, rs, w.key, map[string]any{"kid": []string{"1"}}, claims(nil)), "kid must be a string"},
		{"kid an object", forge(t, rs, w.key, map[string]any{"kid": map[string]any{"a": 1}}, claims(nil)), "kid must be a string"},
		{"kid no number", forge(t, rs, w.key, map[string]any{"kid": "../1"}, claims(nil)), "kid must be a number"},
		{"kid in another spelling", forge(t, rs, w.key, map[string]any{"kid": "01"}, claims(nil)), "kid must be a number"},
		{"other mesh", forge(t, rs, w.signingKey(t, "other", "1"), one, claims(map[string]any{"Mesh": "other"})), `it is of mesh "other", asked for was mesh "default"`},
		{"other mesh's key", forge(t, rs, w.signingKey(t, "other", "1"), one, claims(nil)), "not signed by mesh \"default\""},
		{"tags of a wrong type", forge(t, rs, w.key, one, claims(map[string]any{"Tags": "all"})), "it is no JWT"},
		{"empty", "", "it is no JWT"},
		{"with Bearer", "Bearer " + forge(t, rs, w.key, one, claims(nil)), "without `Bearer`"},
		{"huge", strings.Repeat("a", 17<<10), "longer than"},
		{"huge mesh name", forge(t, rs, w.key, one, claims(map[string]any{"Mesh": strings.Repeat("m", 5000) + "\n"})), "…"},
	}
	passed, refused := 0, 0
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := w.Verify(t.Context(), tt.raw, "default")
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				passed++
				return
			}
			if !errors.Is(err, token.ErrRefused) {
				t.Fatalf("error %v, want ErrRefused", err)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q lacks %q", err, tt.want)
			}
			for _, part := range strings.Split(tt.raw, ".") {
				if len(part) > 20 && strings.Contains(err.Error(), part) {
					t.Errorf("error repeats the token: %q", err)
				}
			}
			if strings.ContainsAny(err.Error(), "\n\r") || len(err.Error()) > 500 {
				t.Errorf("error is not one short line: %q", err)
			}
			refused++
		})
	}
	t.Logf("F23: seed none, tokens %d, passed %d, refused %d", len(tests), passed, refused)
}

func TestVerifyDoesNotTellWhichMeshesThereAre(t *testing.T) {
	w := newWorld(t)
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	raw := forge(t, jwt.SigningMethodRS256, stranger, map[string]any{"kid": "1"}, claims(map[string]any{"Mesh": nil}))
	_, there := w.Verify(t.Context(), raw, "default")
	_, absent := w.Verify(t.Context(), raw, "absent!")
	if a, b := strings.ReplaceAll(there.Error(), "default", "x"), strings.ReplaceAll(absent.Error(), "absent!", "x"); a != b {
		t.Errorf("answers differ:\n%s\n%s", a, b)
	}
}

func TestNewestKeySignsAndAllVerify(t *testing.T) {
	w := newWorld(t)
	first, err := w.Issue(t.Context(), token.Claims{Mesh: "default"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, serial := range []string{"2", "10", "x"} {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		w.secret(t, "default", "dataplane-token-signing-key-default-"+serial,
			pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	}
	newest, err := w.Issue(t.Context(), token.Claims{Mesh: "default"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if h, _ := base64.RawURLEncoding.DecodeString(strings.Split(newest, ".")[0]); !strings.Contains(string(h), `"kid":"10"`) {
		t.Errorf("signed with %s, want kid 10", h)
	}
	for _, raw := range []string{first, newest} {
		if _, err := w.Verify(t.Context(), raw, "default"); err != nil {
			t.Error(err)
		}
	}
	// A key that is replaced or deleted counts no more, cached or not.
	k := mesh.Key{Kind: "Secret", Mesh: "default", Name: "dataplane-token-signing-key-default-1"}
	other := w.signingKey(t, "other", "1")
	w.secret(t, "default", k.Name, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(other)}))
	if _, err := w.Verify(t.Context(), first, "default"); !errors.Is(err, token.ErrRefused) {
		t.Errorf("after the key was replaced: %v", err)
	}
	if err := w.store.Delete(t.Context(), k, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Verify(t.Context(), first, "default"); !errors.Is(err, token.ErrRefused) {
		t.Errorf("after the key was deleted: %v", err)
	}
}

func TestRevocationCountsAtOnce(t *testing.T) {
	w := newWorld(t)
	raw, err := w.Issue(t.Context(), token.Claims{Mesh: "default"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	c, err := w.Verify(t.Context(), raw, "default")
	if err != nil {
		t.Fatal(err)
	}
	w.secret(t, "default", "dataplane-token-revocations-default", []byte("x,"+c.ID))
	if _, err := w.Verify(t.Context(), raw, "default"); err == nil {
		t.Error("a revoked token passed")
	}
}

func TestStoreFailureIsNotTheTokensFault(t *testing.T) {
	w := newWorld(t)
	raw, err := w.Issue(t.Context(), token.Claims{Mesh: "default"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Verify(ctx, raw, "default"); !errors.Is(err, context.Canceled) || errors.Is(err, token.ErrRefused) {
		t.Errorf("error %v, want the store's", err)
	}
}

func TestEnsureRepeatsAndRaces(t *testing.T) {
	w := newWorld(t)
	done := make(chan error)
	for range 3 {
		go func() { done <- w.Ensure(t.Context(), "third") }()
	}
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	before := w.signingKey(t, "third", "1")
	if err := w.Ensure(t.Context(), "third"); err != nil {
		t.Fatal(err)
	}
	if !w.signingKey(t, "third", "1").Equal(before) {
		t.Error("Ensure replaced a key")
	}
	if w.signingKey(t, "default", "1").Equal(w.signingKey(t, "other", "1")) {
		t.Error("two meshes share a signing key")
	}
}

func TestIssueWithoutKey(t *testing.T) {
	w := newWorld(t)
	if _, err := w.Issue(t.Context(), token.Claims{Mesh: "nowhere"}, time.Hour); !errors.Is(err, token.ErrNoSigningKey) {
		t.Errorf("error %v, want ErrNoSigningKey", err)
	}
}

func TestIssueDataplane(t *testing.T) {
	w := newWorld(t)
	raw, err := w.IssueDataplane(t.Context(), token.Request{Mesh: "default", Name: "web-1"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := w.Verify(t.Context(), raw, "default")
	if err != nil {
		t.Fatal(err)
	}
	if got := c.ExpiresAt.Sub(start); got != 10*365*24*time.Hour {
		t.Errorf("valid for %s, want ten years", got)
	}
	tests := []struct {
		name string
		req  token.Request
		want []string
	}{
		{"nothing", token.Request{}, []string{"mesh: must be set"}},
		{"all at once", token.Request{Mesh: "nope", Type: "zone", ValidFor: "soon", Tags: map[string][]string{"a": nil, "b": {""}}},
			[]string{`mesh: there is no mesh "nope"`, "type: must be", "validFor: must be a duration", `tags["a"]: must list`, `tags["b"]: a value must not be empty`}},
		{"no time", token.Request{Mesh: "default", ValidFor: "-1h"}, []string{"validFor: must be more than 0"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := w.IssueDataplane(t.Context(), tt.req)
			if !errors.Is(err, mesh.ErrInvalid) {
				t.Fatalf("error %v, want violations", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q lacks %q", err, want)
				}
			}
		})
	}
}

func TestAllows(t *testing.T) {
	dp := mesh.Resource{Kind: mesh.DataplaneKind, Meta: mesh.Meta{Mesh: "default", Name: "web-1", Labels: map[string]string{"kuma.io/workload": "w"}},
		Spec: &mesh.Dataplane{Networking: mesh.DataplaneNetworking{Inbound: []mesh.Inbound{
			{Tags: mesh.Tags{"kuma.io/service": "web", "team": "a"}},
			{Tags: mesh.Tags{"kuma.io/service": "web-admin"}},
		}}}}
	gateway := mesh.Resource{Kind: mesh.DataplaneKind, Meta: mesh.Meta{Mesh: "default", Name: "gw"},
		Spec: &mesh.Dataplane{Networking: mesh.DataplaneNetworking{Gateway: &mesh.Gateway{Tags: mesh.Tags{"kuma.io/service": "edge"}}}}}
	tags := func(kv ...string) map[string][]string {
		m := map[string][]string{}
		for n := 0; n < len(kv); n += 2 {
			m[kv[n]] = append(m[kv[n]], kv[n+1])
		}
		return m
	}
	tests := []struct {
		name string
		c    token.Claims
		dp   mesh.Resource
		want []string // nothing: allowed
	}{
		{"empty", token.Claims{}, dp, nil},
		{"all named", token.Claims{Name: "web-1", Mesh: "default", Type: "dataplane", Workload: "w", Tags: tags("kuma.io/service", "web", "kuma.io/service", "web-admin", "team", "a")}, dp, nil},
		{"a tag on one inbound only", token.Claims{Tags: tags("team", "a")}, dp, nil},
		{"gateway", token.Claims{Tags: tags("kuma.io/service", "edge")}, gateway, nil},
		{"gateway's other service", token.Claims{Tags: tags("kuma.io/service", "web")}, gateway, []string{`networking.gateway.tags["kuma.io/service"]: is "edge", allowed is "web"`}},
		{"one value too many", token.Claims{Tags: tags("kuma.io/service", "web")}, dp, []string{`networking.inbound[1].tags["kuma.io/service"]: is "web-admin", allowed is "web"`}},
		{"tag is missing", token.Claims{Tags: tags("zone", "x")}, dp, []string{`has the tag "zone", which must be "x"`}},
		{"tag without values", token.Claims{Tags: map[string][]string{"team": {}}}, dp, []string{`allowed is nothing`}},
		{"ingress", token.Claims{Type: "ingress"}, dp, []string{`type: the token is for "ingress" only`}},
		{"everything wrong", token.Claims{Name: "x", Mesh: "y", Workload: "z"}, dp, []string{`name: is "web-1"`, `mesh: is "default"`, `labels["kuma.io/workload"]: is "w", allowed is "z"`}},
		{"no Dataplane", token.Claims{}, mesh.Resource{Kind: mesh.MeshKind, Spec: new(mesh.MeshSpec)}, []string{"only a Dataplane"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := tt.c.Allows(tt.dp)
			if len(v) != len(tt.want) {
				t.Errorf("violations %q, want %d", v.Error(), len(tt.want))
			}
			for _, want := range tt.want {
				if !strings.Contains(v.Error(), want) {
					t.Errorf("%q lacks %q", v.Error(), want)
				}
			}
		})
	}
}

func FuzzVerify(f *testing.F) {
	s := memory.New()
	i := &token.Issuer{Store: s, Now: func() time.Time { return start }}
	if err := i.Ensure(context.Background(), "default"); err != nil {
		f.Fatal(err)
	}
	good, err := i.Issue(context.Background(), token.Claims{Mesh: "default"}, time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJSUzI1NiIsImtpZCI6MX0.e30.AA")
	f.Add("..")
	f.Fuzz(func(t *testing.T, raw string) {
		if _, err := i.Verify(t.Context(), raw, "default"); err == nil && raw != good {
			// The same signature in another spelling is fine, other claims are not.
			c, _ := i.Verify(t.Context(), raw, "default")
			g, _ := i.Verify(t.Context(), good, "default")
			if c.ID != g.ID {
				t.Errorf("a forged token passed: %q", raw)
			}
		}
	})
}
