package token_test

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/token"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// What was verified once is refused as soon as anything is taken back, and costs
// no arithmetic until then.
func TestVerifiedTokensAreRemembered(t *testing.T) {
	const keyName = "dataplane-token-signing-key-default-1"
	for _, tt := range []struct {
		name string
		take func(t *testing.T, w *world, raw *string, meshName *string)
	}{
		{"its end has come", func(_ *testing.T, w *world, _, _ *string) { w.now = start.Add(time.Hour) }},
		{"the clock was set back", func(_ *testing.T, w *world, _, _ *string) { w.now = start.Add(-time.Hour) }},
		{"it was revoked", func(t *testing.T, w *world, raw, _ *string) {
			c, err := w.Verify(t.Context(), *raw, "default")
			if err != nil {
				t.Fatal(err)
			}
			w.secret(t, "default", "dataplane-token-revocations-default", []byte(c.ID))
		}},
		{"its key was replaced", func(t *testing.T, w *world, _, _ *string) {
			w.secret(t, "default", keyName, pemOf(w.signingKey(t, "other", "1")))
		}},
		{"its key was deleted", func(t *testing.T, w *world, _, _ *string) {
			if err := w.store.Delete(t.Context(), mesh.Key{Kind: "Secret", Mesh: "default", Name: keyName}, 0); err != nil {
				t.Fatal(err)
			}
		}},
		{"it is shown to another mesh", func(_ *testing.T, _ *world, _, meshName *string) { *meshName = "other" }},
		{"its signature is another one", func(_ *testing.T, _ *world, raw, _ *string) {
			head, signature := (*raw)[:strings.LastIndex(*raw, ".")+1], (*raw)[strings.LastIndex(*raw, ".")+1:]
			*raw = head + strings.Map(func(r rune) rune {
				if r == 'A' {
					return 'B'
				}
				return 'A'
			}, signature)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			reading := w.Reading(w.store.Get)
			raw, err := w.Issue(t.Context(), token.Claims{Name: "web-1", Mesh: "default"}, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			meshName := "default"
			verify := func() {
				if c, err := reading.Verify(t.Context(), raw, meshName); err != nil || c.Name != "web-1" {
					t.Fatalf("a good token says %q, %v", c.Name, err)
				}
			}
			verify()
			whole := testing.AllocsPerRun(10, func() { _, _ = w.Verify(t.Context(), raw, meshName) })
			if n := testing.AllocsPerRun(10, verify); n > whole/2 {
				t.Errorf("to verify it takes %v allocations, and once more %v: it was not remembered", whole, n)
			}
			tt.take(t, w, &raw, &meshName)
			if _, err := reading.Verify(t.Context(), raw, meshName); !errors.Is(err, token.ErrRefused) {
				t.Errorf("error %v, want ErrRefused", err)
			}
		})
	}
}

func pemOf(key *rsa.PrivateKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}
