package sealed_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/memory"
	"github.com/weft-mesh/weft/pkg/cp/store/sealed"
	"github.com/weft-mesh/weft/pkg/cp/store/sqlite"
	"github.com/weft-mesh/weft/pkg/cp/store/storetest"
	"github.com/weft-mesh/weft/pkg/keyfile"
	"github.com/weft-mesh/weft/pkg/mesh"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newKeys(t *testing.T) (*sealed.Keys, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secrets.key")
	keys, err := sealed.CreateKeys(path)
	must(t, err)
	return keys, path
}

// A sealed store is a store.
func TestStore(t *testing.T) {
	keys, _ := newKeys(t)
	storetest.Run(t, func(t *testing.T, _ string) store.Store {
		s := sealed.Over(memory.New(), keys, slog.New(slog.DiscardHandler))
		t.Cleanup(func() { _ = s.Close() })
		return s
	}, storetest.Volatile)
}

func secret(kind *mesh.Kind, in, name, data string) mesh.Resource {
	return mesh.Resource{Kind: kind, Meta: mesh.Meta{Mesh: in, Name: name}, Spec: &mesh.Secret{Data: []byte(data)}}
}

const canary = "-----BEGIN canary of these tests-----"

// grep finds the canary in the files of a folder, as it is and as documents have
// it.
func grep(t *testing.T, dir string) (found []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		must(t, err)
		// "canary" in base64, at each of three offsets
		for _, text := range []string{"canary of these", "Y2FuYXJ5", "NhbmFyeS", "jYW5hcn"} {
			if bytes.Contains(data, []byte(text)) {
				found = append(found, e.Name()+": "+text)
			}
		}
	}
	return found
}

// TestNothingPlainIsOnDisk looks at every byte that SQLite leaves, of secrets
// that were there before they were sealed, too.
func TestNothingPlainIsOnDisk(t *testing.T) {
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	plain, err := sqlite.Open(t.Context(), dir, log)
	must(t, err)
	for n := range 3 {
		r := secret(mesh.SecretKind, "default", "old", fmt.Sprint(canary, n))
		if was, err := plain.Get(t.Context(), r.Key()); err == nil {
			r.Meta.Version = was.Meta.Version
		}
		_, err = plain.Put(t.Context(), r)
		must(t, err)
	}
	_, err = plain.Put(t.Context(), secret(mesh.GlobalSecretKind, "", "old", canary))
	must(t, err)
	if len(grep(t, dir)) == 0 {
		t.Fatal("the canary is not found where it must be")
	}
	keys, _ := newKeys(t)
	s := sealed.Over(plain, keys, log)
	n, err := s.Reseal(t.Context())
	if err != nil || n != 2 {
		t.Fatalf("sealed %d, %v; want 2", n, err)
	}
	_, err = s.Put(t.Context(), secret(mesh.SecretKind, "default", "new", canary))
	must(t, err)
	for _, k := range []mesh.Key{{Kind: "Secret", Mesh: "default", Name: "new"}, {Kind: "Secret", Mesh: "default", Name: "old"}, {Kind: "GlobalSecret", Name: "old"}} {
		r, err := s.Get(t.Context(), k)
		if err != nil || !strings.HasPrefix(string(r.Spec.(*mesh.Secret).Data), canary) {
			t.Errorf("%s: %v", k, err)
		}
	}
	if found := grep(t, dir); len(found) > 0 {
		t.Errorf("while it is open: %q", found)
	}
	must(t, s.Close())
	if found := grep(t, dir); len(found) > 0 {
		t.Errorf("when it is closed: %q", found)
	}
}

func TestKeysRotate(t *testing.T) {
	keys, path := newKeys(t)
	inner := memory.New()
	s := sealed.Over(inner, keys, slog.New(slog.DiscardHandler))
	for n := range 5 {
		_, err := s.Put(t.Context(), secret(mesh.SecretKind, "default", fmt.Sprint("s-", n), "x"))
		must(t, err)
	}
	other, err := sealed.OpenKeys(path) // another process
	must(t, err)
	old := keys.Active()
	next, err := other.Add()
	must(t, err)
	if keys.Active() != next || next == old {
		t.Errorf("a running control plane seals by %s, not by the new key %s", keys.Active(), next)
	}
	n, err := s.Reseal(t.Context())
	if err != nil || n != 5 {
		t.Errorf("sealed %d, %v", n, err)
	}
	if n, err := s.Reseal(t.Context()); err != nil || n != 0 {
		t.Errorf("sealed %d again, %v", n, err)
	}
	count, err := sealed.Count(t.Context(), inner)
	if err != nil || len(count) != 1 || count[next] != 5 {
		t.Errorf("sealed by %v, %v", count, err)
	}
	must(t, keys.DropOld())
	if ids := other.IDs(); len(keys.IDs()) != 1 || len(ids) != 2 {
		t.Errorf("keys %v, %v", keys.IDs(), ids)
	}
	if r, err := s.Get(t.Context(), mesh.Key{Kind: "Secret", Mesh: "default", Name: "s-3"}); err != nil || string(r.Spec.(*mesh.Secret).Data) != "x" {
		t.Errorf("%v, %v", r.Spec, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestWrongKeyAndDamage(t *testing.T) {
	keys, _ := newKeys(t)
	inner := memory.New()
	var log bytes.Buffer
	s := sealed.Over(inner, keys, slog.New(slog.NewTextHandler(&log, nil)))
	for _, name := range []string{"a", "b"} {
		_, err := s.Put(t.Context(), secret(mesh.SecretKind, "default", name, "secret of "+name))
		must(t, err)
	}
	wrong, _ := newKeys(t)
	stranger := sealed.Over(inner, wrong, slog.New(slog.DiscardHandler))
	k := mesh.Key{Kind: "Secret", Mesh: "default", Name: "a"}
	if _, err := stranger.Get(t.Context(), k); !errors.Is(err, sealed.ErrKey) || !strings.Contains(err.Error(), keys.Active().String()) || !strings.Contains(err.Error(), "put the file back") {
		t.Errorf("with another key: %v", err)
	}
	if _, err := stranger.Reseal(t.Context()); !errors.Is(err, sealed.ErrKey) {
		t.Errorf("sealed anew with another key: %v", err)
	}
	// One secret in another's place, and one with a bit that flipped.
	a, err := inner.Get(t.Context(), k)
	must(t, err)
	b, err := inner.Get(t.Context(), mesh.Key{Kind: "Secret", Mesh: "default", Name: "b"})
	must(t, err)
	moved := b
	moved.Spec = a.Spec
	_, err = inner.Put(t.Context(), moved)
	must(t, err)
	flipped := a
	data := bytes.Clone(a.Spec.(*mesh.Secret).Data)
	data[len(data)-1] ^= 1
	flipped.Spec = &mesh.Secret{Data: data}
	ctx := t.Context()
	feed, err := s.Watch(ctx, moved.Meta.Version+1)
	must(t, err)
	_, err = inner.Put(t.Context(), flipped)
	must(t, err)
	_, err = s.Put(t.Context(), secret(mesh.SecretKind, "default", "c", "well"))
	must(t, err)
	for _, name := range []string{"a", "b"} {
		if _, err := s.Get(t.Context(), mesh.Key{Kind: "Secret", Mesh: "default", Name: name}); !errors.Is(err, sealed.ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	page, err := s.List(t.Context(), store.Query{})
	if err != nil || len(page.Items) != 1 || page.Items[0].Meta.Name != "c" {
		t.Errorf("%v, %v", page.Items, err)
	}
	late := time.After(time.Minute)
	for last := ""; last != "c"; {
		select {
		case c := <-feed:
			if last = c.Key.Name; last == "a" {
				t.Error("what is damaged was handed on")
			}
		case <-late:
			t.Fatal("the feed stopped at what is damaged")
		}
	}
	if !strings.Contains(log.String(), "a secret was left out") || strings.Contains(log.String(), "secret of") {
		t.Errorf("the log says %s", &log)
	}
}

func TestKeyFiles(t *testing.T) {
	_, path := newKeys(t)
	good, err := os.ReadFile(path)
	must(t, err)
	for name, test := range map[string]struct {
		text string
		mode os.FileMode
		want error
	}{
		"as it is":    {string(good), 0o600, nil},
		"others read": {string(good), 0o640, keyfile.ErrExposed},
		"empty":       {"", 0o600, sealed.ErrKey},
		"cut short":   {string(good[:len(good)-10]), 0o600, sealed.ErrKey},
		"another id":  {strings.Replace(string(good), "\n0", "\n1", 1) + "00 AAAA\n", 0o600, sealed.ErrKey},
	} {
		must(t, os.Remove(path))
		must(t, os.WriteFile(path, []byte(test.text), test.mode))
		must(t, os.Chmod(path, test.mode)) // whatever the umask
		if _, err := sealed.OpenKeys(path); !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, os.Remove(path))
	if _, err := sealed.OpenKeys(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
