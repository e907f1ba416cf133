package cp

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/weft-mesh/weft/pkg/cp/ca"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/settings"
)

func defaults(t *testing.T) Config {
	t.Helper()
	var c Config
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	c.Bind(fs)
	c.DataDir = filepath.Join(t.TempDir(), "data")
	return c
}

// TestBackupIsADataDirectory restores a backup by opening it in place: the
// authority, the admin token and what was stored are those of before.
func TestBackupIsADataDirectory(t *testing.T) {
	cfg := defaults(t)
	log := slog.New(slog.DiscardHandler)
	s, err := openStore(t.Context(), cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	own, err := ca.OpenOwn(t.Context(), cfg.DataDir, ca.OwnOptions{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	admin, err := ownToken(filepath.Join(cfg.DataDir, "admin-token"))
	if err != nil {
		t.Fatal(err)
	}
	stored, err := s.Put(t.Context(), mesh.Resource{Kind: mesh.SecretKind, Meta: mesh.Meta{Mesh: "m", Name: "s"}, Spec: &mesh.Secret{Data: []byte("x")}})
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "backup")
	if err := Backup(t.Context(), cfg, to); err != nil { // the store is open
		t.Fatal(err)
	}
	if err := Backup(t.Context(), cfg, to); err == nil {
		t.Error("a backup took the place of another")
	}
	restored := cfg
	restored.DataDir = to
	again, err := openStore(t.Context(), restored, log)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if r, err := again.Get(t.Context(), stored.Key()); err != nil || r.Meta.Version != stored.Meta.Version {
		t.Errorf("what was stored is %+v, %v", r, err)
	}
	if a, err := ca.OpenOwn(t.Context(), to, ca.OwnOptions{Log: log}); err != nil || a.Fingerprint() != own.Fingerprint() {
		t.Errorf("another authority: %v", err)
	}
	if a, err := ownToken(filepath.Join(to, "admin-token")); err != nil || a != admin {
		t.Errorf("another admin token: %v", err)
	}
	files, err := os.ReadDir(to)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v; want 0600", f.Name(), info.Mode(), err)
		}
	}
}

func TestStoreSettings(t *testing.T) {
	for _, test := range []struct {
		name string
		set  func(c *Config)
		want string // part of the error; "": none
	}{
		{"default", func(*Config) {}, ""},
		{"unknown", func(c *Config) { c.Store = "etcd" }, `store: "etcd" must be`},
		{"postgres without an address", func(c *Config) { c.Store = StorePostgres }, "storeDsn: must be set"},
		{"address without postgres", func(c *Config) { c.StoreDSN = "postgres://" }, `storeDsn: is for store "postgres"`},
		{"postgres", func(c *Config) { c.Store, c.StoreDSN = StorePostgres, "postgres://db" }, ""},
		{"certificate without key", func(c *Config) { c.Store, c.StoreDSN, c.StoreTLSCert = StorePostgres, "postgres://db", "/x" }, "belong together"},
		{"relative file", func(c *Config) { c.Store, c.StoreDSN, c.StoreTLSCA = StorePostgres, "postgres://db", "x" }, "storeTlsCa: \"x\" must be an absolute path"},
	} {
		c := defaults(t)
		test.set(&c)
		err := c.Validate()
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: error %v, want %q", test.name, err, test.want)
		}
	}
	if text, err := Secret("postgres://weft:secret@db").MarshalText(); err != nil || strings.Contains(string(text), "secret") {
		t.Errorf("a secret is shown: %s, %v", text, err)
	}
	c := defaults(t)
	c.Store = StoreMemory
	if _, err := SchemaStatus(t.Context(), c); err == nil || !strings.Contains(err.Error(), "in memory") {
		t.Errorf("status of memory: %v", err)
	}
	c.Store = StorePostgres
	if err := Backup(t.Context(), c, filepath.Join(t.TempDir(), "b")); err == nil || !strings.Contains(err.Error(), "pg_dump") {
		t.Errorf("backup of PostgreSQL: %v", err)
	}
}

// TestConfigIsShownByItsKeys: /config has what the file may have, and no
// secret.
func TestConfigIsShownByItsKeys(t *testing.T) {
	c := defaults(t)
	c.Zone, c.StoreDSN, c.Peers = "east", "postgres://weft:hush@db", []string{"cp2:5678"}
	c.Access["read-resources"].Groups = []string{"team-a"}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var shown map[string]any
	if err := json.Unmarshal(text, &shown); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"zone": "east", "storeDsn": "*****", "peers": "[cp2:5678]", "apiTlsAddress": ":5682", "apiReadOnly": "false",
		"accessReadResourcesGroups": "[team-a]", "accessReadResourcesUsers": "[]",
	} {
		if got := fmt.Sprint(shown[key]); got != want {
			t.Errorf("%s is shown as %s, want %s", key, got, want)
		}
	}
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	new(Config).Bind(fs)
	file := filepath.Join(t.TempDir(), "cp.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := settings.Load(fs, file, false, func(string) string { return "" }); err != nil {
		t.Errorf("what is shown is no configuration: %v", err)
	}
	if c.Zone != "east" || c.StoreDSN != "postgres://weft:hush@db" || len(shown) == 0 {
		t.Errorf("it was changed by being shown: %+v", c)
	}
}
