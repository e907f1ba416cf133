package cp

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/pkg/cp/store/sealed"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// TestSecretsKey walks what can befall the key file between starts.
func TestSecretsKey(t *testing.T) {
	cfg := Config{DataDir: t.TempDir(), Store: StoreSQLite}
	log := slog.New(slog.DiscardHandler)
	key := filepath.Join(cfg.DataDir, "secrets.key")
	k := mesh.Key{Kind: mesh.SecretKind.Name, Mesh: "default", Name: "s"}
	start := func(do func(s *sealed.Store)) error {
		opened, err := openStore(t.Context(), cfg, log)
		if err != nil {
			t.Fatal(err)
		}
		defer opened.Close()
		keys, err := openKeys(t.Context(), cfg, opened, log)
		if err == nil {
			do(sealed.Over(opened, keys, log))
		}
		return err
	}
	read := func(s *sealed.Store) {
		t.Helper()
		if r, err := s.Get(t.Context(), k); err != nil || string(r.Spec.(*mesh.Secret).Data) != "x" {
			t.Errorf("the secret is %v, %v", r.Spec, err)
		}
	}
	if err := start(func(s *sealed.Store) {
		if _, err := s.Put(t.Context(), mesh.Resource{Kind: mesh.SecretKind, Meta: mesh.Meta{Mesh: k.Mesh, Name: k.Name}, Spec: &mesh.Secret{Data: []byte("x")}}); err != nil {
			t.Fatal(err)
		}
		told, err := RotateSecretsKey(t.Context(), cfg, log)
		if err != nil || !strings.Contains(told, "the control plane that runs seals all secrets") {
			t.Errorf("rotated beside a control plane: %q, %v", told, err)
		}
		if n, err := s.Reseal(t.Context()); err != nil || n != 1 {
			t.Errorf("sealed %d, %v", n, err)
		}
		read(s)
	}); err != nil {
		t.Fatal(err)
	}
	told, err := RotateSecretsKey(t.Context(), cfg, log)
	if err != nil || !strings.Contains(told, "has sealed 1 secrets, and the old one is dropped") {
		t.Errorf("rotated with nobody there: %q, %v", told, err)
	}
	if err := start(read); err != nil {
		t.Error(err)
	}
	if err := DropOldSecretsKeys(t.Context(), cfg, log); err != nil {
		t.Error(err)
	}
	if err := os.Rename(key, key+".away"); err != nil {
		t.Fatal(err)
	}
	if err := start(read); err == nil || !strings.Contains(err.Error(), "is not there, but 1 secrets of the store are sealed") || !strings.Contains(err.Error(), "put the file back") {
		t.Errorf("without the file: %v", err)
	}
	if _, err := os.Stat(key); err == nil {
		t.Error("another key was made in the place of the one that is missing")
	}
	if _, err := sealed.CreateKeys(key); err != nil {
		t.Fatal(err)
	}
	if err := start(read); err == nil || !strings.Contains(err.Error(), "is not the key file of this store") {
		t.Errorf("with another file: %v", err)
	}
	if err := os.Rename(key+".away", key); err != nil {
		t.Fatal(err)
	}
	if err := start(read); err != nil {
		t.Error(err)
	}
}
