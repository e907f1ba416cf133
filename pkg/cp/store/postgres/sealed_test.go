package postgres

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/internal/testpg"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/sealed"
	"github.com/weft-mesh/weft/pkg/cp/store/storetest"
	"github.com/weft-mesh/weft/pkg/keyfile"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// TestSealedStore runs the suite on what a control plane really has: its secrets
// sealed, in PostgreSQL.
func TestSealedStore(t *testing.T) {
	keys, err := sealed.CreateKeys(filepath.Join(t.TempDir(), "secrets.key"))
	if err != nil {
		t.Fatal(err)
	}
	storetest.Run(t, func(t *testing.T, dir string) store.Store {
		s := open(t, schemaOf(t, dir))
		s.feed = 300
		return sealed.Over(s, keys, slog.New(slog.DiscardHandler))
	}, storetest.Feed(300))
}

// TestKeyRotates exchanges the key of two replicas' secrets, as weft-cp key rotate
// and the replicas that follow do it: at once, while secrets are written.
func TestKeyRotates(t *testing.T) {
	const canary, n = "-----BEGIN canary of this test-----", 200
	dsn, log := testpg.Schema(t), slog.New(slog.DiscardHandler)
	files := []string{filepath.Join(t.TempDir(), "secrets.key"), filepath.Join(t.TempDir(), "secrets.key")}
	first, err := sealed.CreateKeys(files[0])
	if err != nil {
		t.Fatal(err)
	}
	place := func() { // the new file on the other replica
		t.Helper()
		text, err := os.ReadFile(files[0])
		if err == nil {
			err = keyfile.Write(files[1], text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	place()
	second, err := sealed.OpenKeys(files[1])
	if err != nil {
		t.Fatal(err)
	}
	raw := open(t, dsn)
	a, b := sealed.Over(raw, first, log), sealed.Over(open(t, dsn), second, log)
	put := func(s *sealed.Store, name string) error {
		_, err := s.Put(t.Context(), mesh.Resource{
			Kind: mesh.SecretKind, Meta: mesh.Meta{Mesh: "default", Name: name}, Spec: &mesh.Secret{Data: []byte(canary + name)},
		})
		return err
	}
	for i := range n {
		if err := put(a, fmt.Sprint("s", i)); err != nil {
			t.Fatal(err)
		}
	}
	old := first.Active()
	if _, err := first.Add(); err != nil {
		t.Fatal(err)
	}
	place()
	var work errgroup.Group
	for _, s := range []*sealed.Store{a, b} {
		work.Go(func() error { _, err := s.Reseal(t.Context()); return err })
	}
	work.Go(func() error {
		for i := range n {
			if err := put(b, fmt.Sprint("t", i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err := work.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Reseal(t.Context()); err != nil { // what was written meanwhile
		t.Fatal(err)
	}
	count, err := sealed.Count(t.Context(), raw)
	if err != nil || count[old] != 0 || count[first.Active()] != 2*n || len(count) != 1 {
		t.Errorf("secrets by key: %v, %v; want %d by %s alone", count, err, 2*n, first.Active())
	}
	if err := first.DropOld(); err != nil {
		t.Fatal(err)
	}
	place()
	for _, s := range []*sealed.Store{a, b} {
		page, err := s.List(t.Context(), store.Query{Kind: mesh.SecretKind})
		if err != nil || len(page.Items) != 2*n {
			t.Fatalf("%d secrets can be opened, %v; want %d", len(page.Items), err, 2*n)
		}
		for _, r := range page.Items {
			if got := r.Spec.(*mesh.Secret).Data; string(got) != canary+r.Meta.Name {
				t.Errorf("%s is %q", r.Key(), got)
			}
		}
	}
	c, err := dial(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	var dump []byte
	if err := c.QueryRow(t.Context(), "SELECT convert_to(string_agg(r::text, ''), 'UTF8') FROM revisions r").Scan(&dump); err != nil {
		t.Fatal(err)
	}
	// Documents have it in base 64.
	shown := bytes.Contains(dump, []byte("canary")) || bytes.Contains(dump, []byte(base64.StdEncoding.EncodeToString([]byte(canary[:33]))))
	if sealed := base64.StdEncoding.EncodeToString([]byte("weft-sealed\x01")); shown || bytes.Count(dump, []byte(sealed)) < 2*n {
		t.Errorf("%d bytes of the database show what they hold, or are not what was looked for", len(dump))
	}
	t.Logf("secrets %d, by %s, then all by %s", 2*n, old, first.Active())
}
