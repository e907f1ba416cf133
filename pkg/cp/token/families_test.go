package token_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/token"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/signing"
)

var (
	dataplanes = token.Family{Kind: token.Dataplane, Mesh: "default"}
	zones      = token.Family{Kind: token.Zone}
	users      = token.Family{Kind: token.User}
)

func newFamilies(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	for _, kind := range []string{"zone", "user"} {
		put(t, w.store, mesh.Resource{Kind: mesh.GlobalSecretKind, Meta: mesh.Meta{Name: kind + "-token-signing-key-1"}, Spec: &mesh.Secret{Data: madeKeys()[kind]}})
	}
	if err := w.EnsureGlobal(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

// verify asks for a token of a family.
func (w *world) verify(t *testing.T, f token.Family, raw string) (err error) {
	t.Helper()
	switch f.Kind {
	case token.Dataplane:
		_, err = w.Verify(t.Context(), raw, f.Mesh)
	case token.Zone:
		_, err = w.VerifyZone(t.Context(), raw)
	default:
		_, err = w.VerifyUser(t.Context(), raw)
	}
	if err != nil && !errors.Is(err, token.ErrRefused) {
		t.Errorf("%s: %v", f, err)
	}
	return err
}

// issue makes a token of each family.
func (w *world) issue(t *testing.T) map[token.Family]string {
	t.Helper()
	all := map[token.Family]string{}
	for f, issue := range map[token.Family]func() (string, error){
		dataplanes: func() (string, error) { return w.IssueDataplane(t.Context(), token.Request{Mesh: "default"}) },
		zones: func() (string, error) {
			return w.IssueZone(t.Context(), token.ZoneRequest{Zone: "east", Scope: []string{"ingress"}})
		},
		users: func() (string, error) {
			return w.IssueUser(t.Context(), token.UserRequest{Name: "joe", Groups: []string{"ops"}, ValidFor: "1h"})
		},
	} {
		raw, err := issue()
		if err != nil {
			t.Fatal(err)
		}
		all[f] = raw
	}
	return all
}

// Each token is good for its own purpose alone, whoever shows it where.
func TestTokensAreForOnePurpose(t *testing.T) {
	w := newFamilies(t)
	tokens := w.issue(t)
	other := token.Family{Kind: token.Dataplane, Mesh: "other"}
	for of, raw := range tokens {
		for _, f := range []token.Family{dataplanes, other, zones, users} {
			if err := w.verify(t, f, raw); (err == nil) != (f == of) {
				t.Errorf("one of the %s, shown as one of the %s: %v", of, f, err)
			}
		}
	}
	u, err := w.VerifyUser(t.Context(), tokens[users])
	if err != nil || u.Name != "joe" || !slices.Equal(u.Groups, []string{"ops"}) {
		t.Errorf("%+v, %v", u, err)
	}
	z, err := w.VerifyZone(t.Context(), tokens[zones])
	if err != nil || z.Zone != "east" || !slices.Equal(z.Scope, []string{"ingress"}) || z.ExpiresAt.Sub(start) != token.DefaultValidity {
		t.Errorf("%+v, %v", z, err)
	}
	w.now = w.now.Add(2 * time.Hour)
	if err := w.verify(t, users, tokens[users]); err == nil || !strings.Contains(err.Error(), "expired on") || !strings.Contains(err.Error(), "weftctl token user") {
		t.Errorf("an hour too late: %v", err)
	}
}

func TestKeysRotateAndGo(t *testing.T) {
	w := newFamilies(t)
	before := w.issue(t)
	for _, f := range []token.Family{dataplanes, zones, users} {
		id, err := w.RotateKey(t.Context(), f)
		if err != nil || id != "2" {
			t.Errorf("%s: key %s, %v", f, id, err)
		}
		keys, err := w.Keys(t.Context(), f)
		if err != nil || len(keys) != 2 || keys[0].Signs || !keys[1].Signs || keys[1].ID != "2" || keys[0].Made.IsZero() {
			t.Errorf("%s: %+v, %v", f, keys, err)
		}
	}
	after := w.issue(t)
	for f, raw := range before {
		for when, raw := range map[string]string{"before": raw, "after": after[f]} {
			if err := w.verify(t, f, raw); err != nil {
				t.Errorf("%s of %s the rotation: %v", f, when, err)
			}
		}
		if err := w.DropKey(t.Context(), f, "2"); !errors.Is(err, mesh.ErrInvalid) || !strings.Contains(err.Error(), "rotate it first") {
			t.Errorf("%s: dropping the key that signs: %v", f, err)
		}
		if err := w.DropKey(t.Context(), f, "7"); !errors.Is(err, mesh.ErrInvalid) {
			t.Errorf("%s: dropping a key that is not there: %v", f, err)
		}
		if err := w.DropKey(t.Context(), f, "1"); err != nil {
			t.Errorf("%s: %v", f, err)
		}
		if w.verify(t, f, raw) == nil || w.verify(t, f, after[f]) != nil {
			t.Errorf("%s: the wrong tokens are good after a key was dropped", f)
		}
	}
}

func TestRevokeOne(t *testing.T) {
	w := newFamilies(t)
	first, second := w.issue(t), w.issue(t)
	for f, raw := range first {
		var c jwt.RegisteredClaims
		if _, _, err := jwt.NewParser().ParseUnverified(raw, &c); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := w.Revoke(t.Context(), f, c.ID); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.verify(t, f, raw); err == nil || !strings.Contains(err.Error(), "revoked") {
			t.Errorf("%s: %v", f, err)
		}
		if err := w.verify(t, f, second[f]); err != nil {
			t.Errorf("%s: another one: %v", f, err)
		}
		for _, id := range []string{"", "a,b", "a b", strings.Repeat("x", 200)} {
			if err := w.Revoke(t.Context(), f, id); !errors.Is(err, mesh.ErrInvalid) {
				t.Errorf("%s: id %q: %v", f, id, err)
			}
		}
	}
	// Kuma keeps the list of a mesh outside of it since 2.10.
	var c jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(second[dataplanes], &c); err != nil {
		t.Fatal(err)
	}
	put(t, w.store, mesh.Resource{Kind: mesh.GlobalSecretKind, Meta: mesh.Meta{Name: "dataplane-token-revocations-default"}, Spec: &mesh.Secret{Data: []byte("x, " + c.ID)}})
	if w.verify(t, dataplanes, second[dataplanes]) == nil {
		t.Error("a token on the list outside of the mesh is good")
	}
}

// Tokens that were signed elsewhere are taken by the public keys alone.
func TestSignedElsewhere(t *testing.T) {
	w := newFamilies(t)
	data, err := signing.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := signing.ParseKey(data)
	if err != nil {
		t.Fatal(err)
	}
	public, err := signing.ParsePublicKey(signing.PublicKey(key))
	if err != nil {
		t.Fatal(err)
	}
	sign := func(kid string, c jwt.Claims) string {
		raw, err := signing.Sign(key, kid, c)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	reg := signing.Registered(start, time.Hour)
	dp := sign("ci", signing.DataplaneClaims{Mesh: "default", RegisteredClaims: reg})
	user := sign("ci", signing.UserClaims{Name: "joe", RegisteredClaims: reg})
	if w.verify(t, dataplanes, dp) == nil || w.verify(t, users, user) == nil {
		t.Error("taken without the key")
	}
	w.PublicKeys = []token.PublicKey{{Family: dataplanes, ID: "ci", Key: public}, {Family: users, ID: "ci", Key: public}}
	if err := w.verify(t, dataplanes, dp); err != nil {
		t.Error(err)
	}
	if err := w.verify(t, users, user); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"another kid":               w.verify(t, dataplanes, sign("1", signing.DataplaneClaims{Mesh: "default", RegisteredClaims: reg})),
		"no kid":                    w.verify(t, dataplanes, sign("", signing.DataplaneClaims{Mesh: "default", RegisteredClaims: reg})),
		"another mesh":              w.verify(t, token.Family{Kind: token.Dataplane, Mesh: "other"}, dp),
		"a zone":                    w.verify(t, zones, sign("ci", signing.ZoneClaims{RegisteredClaims: reg})),
		"without an id":             w.verify(t, users, sign("ci", signing.UserClaims{Name: "joe", RegisteredClaims: jwt.RegisteredClaims{ExpiresAt: reg.ExpiresAt}})),
		"without a name":            w.verify(t, users, sign("ci", signing.UserClaims{RegisteredClaims: reg})),
		"HS256 with the public key": w.verify(t, users, forge(t, jwt.SigningMethodHS256, signing.PublicKey(key), map[string]any{"kid": "ci"}, claims(nil))),
		"no algorithm":              w.verify(t, users, forge(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, map[string]any{"kid": "ci"}, claims(nil))),
	} {
		if err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	own := w.issue(t)
	w.Off = []string{token.User}
	if _, err := w.IssueUser(t.Context(), token.UserRequest{Name: "joe", ValidFor: "1h"}); !errors.Is(err, mesh.ErrInvalid) || !strings.Contains(err.Error(), "weftctl generate user-token") {
		t.Errorf("issued though that is off: %v", err)
	}
	if w.verify(t, users, own[users]) == nil || w.verify(t, users, user) != nil || w.verify(t, zones, own[zones]) != nil {
		t.Error("with the issuer off the wrong tokens are good")
	}
}

func TestRequests(t *testing.T) {
	w := newFamilies(t)
	for name, test := range map[string]struct {
		issue func() (string, error)
		want  []string
	}{
		"an empty user": {
			func() (string, error) { return w.IssueUser(t.Context(), token.UserRequest{}) },
			[]string{"name: must be set", "validFor: must be set"},
		},
		"a bad user": {
			func() (string, error) {
				return w.IssueUser(t.Context(), token.UserRequest{Name: "joe", Groups: []string{""}, ValidFor: "-1h"})
			},
			[]string{"groups[0]: must not be empty", "validFor: must be more than 0"},
		},
		"an empty zone": {
			func() (string, error) { return w.IssueZone(t.Context(), token.ZoneRequest{}) }, []string{"scope: must list"},
		},
		"a bad zone": {
			func() (string, error) {
				return w.IssueZone(t.Context(), token.ZoneRequest{Scope: []string{"all"}, ValidFor: "soon"})
			},
			[]string{"scope[0]: must be", "validFor: must be a duration"},
		},
	} {
		_, err := test.issue()
		for _, want := range test.want {
			if !errors.Is(err, mesh.ErrInvalid) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
	}
	none := &token.Issuer{Store: newWorld(t).store, Now: w.Now}
	if _, err := none.IssueUser(t.Context(), token.UserRequest{Name: "joe", ValidFor: "1h"}); !errors.Is(err, token.ErrNoSigningKey) || errors.Is(err, store.ErrNotFound) {
		t.Errorf("without a key: %v", err)
	}
}
