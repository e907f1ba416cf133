package cp

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/pkg/cp/store/memory"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// TestAdminTokenIsTheStores starts control planes on one store: the first brings
// the token of its file, the others take it, and a new value in the store counts
// for all.
func TestAdminTokenIsTheStores(t *testing.T) {
	s := memory.New()
	start := func(own string) (token string, file string) {
		t.Helper()
		cfg := defaults(t)
		if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(cfg.DataDir, "admin-token")
		if own != "" {
			if err := os.WriteFile(path, []byte(own+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c := &ControlPlane{cfg: cfg, newest: s, log: slog.New(slog.DiscardHandler)}
		token, err := c.adminToken(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return token, strings.TrimSpace(string(text))
	}
	first, other := strings.Repeat("a", 43), strings.Repeat("b", 43)
	for _, own := range []string{first, "", other} {
		if token, file := start(own); token != first || file != first {
			t.Errorf("with %q of its own a control plane has %q, and the file %q", own, token, file)
		}
	}
	r, err := s.Get(t.Context(), adminTokenKey)
	if err != nil {
		t.Fatal(err)
	}
	r.Spec = &mesh.Secret{Data: []byte(other)}
	if _, err := s.Put(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if token, file := start(first); token != other || file != other {
		t.Errorf("after another one was stored a control plane has %q, and the file %q", token, file)
	}
}
