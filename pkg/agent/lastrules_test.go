//go:build linux

package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect/cgroup"
)

// What was in force is in force again after a boot, of every workload, whatever
// the configuration has come to say; what was taken off is not.
func TestRestoreRedirections(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	unit := fmt.Sprintf("weft-test-last-%d", os.Getpid())
	root, err := cgroup.Root()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(filepath.Join(root, unit)) })
	state := filepath.Join(t.TempDir(), "state")
	one := joined(t, "--state-dir", state, "--exclude-outbound", "port:25")
	two := joined(t, "--state-dir", filepath.Join(state, "workloads", "two"), "--redirect-table", "weft_two",
		"--only", "cgroup:"+unit, "--port", "9090", "--inbound-port", "16006", "--outbound-port", "16001", "--dns-port", "16053")
	one.Only = []string{"user:4711"} // beside another
	in := func(f func() error) {
		t.Helper()
		if err := h.Do(f); err != nil {
			t.Fatal(err)
		}
	}
	tables := func() string { return h.Run(t, "nft", "--stateless", "list", "ruleset") }
	restore := func() (all []Restored, err error) {
		t.Helper()
		in(func() error { all, err = RestoreRedirections(t.Context(), state); return nil })
		return all, err
	}
	if all, err := restore(); len(all) > 0 || err != nil {
		t.Errorf("a host that never joined: %v, %v", all, err)
	}
	for _, cfg := range []Config{one, two} {
		if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
			t.Fatal(err)
		}
		in(func() error { _, err := ApplyRedirection(t.Context(), cfg, 0); return err })
	}
	before := tables()

	in(func() error { return ReleaseRedirections(t.Context(), state, "weft") })
	if left := tables(); left != "" {
		t.Errorf("released, and left:\n%s", left)
	}
	all, err := restore()
	if err != nil || len(all) != 2 {
		t.Fatalf("restored %v, %v, want both", all, err)
	}
	// The cgroup is there before its unit, as the rules have to name it.
	if _, err := os.Stat(filepath.Join(root, unit)); err != nil {
		t.Errorf("the cgroup of an enrolled unit: %v", err)
	}
	in(func() error {
		for _, cfg := range []Config{one, two} {
			_, differences, err := CheckRedirection(t.Context(), cfg)
			if err != nil || len(differences) > 0 {
				t.Errorf("%s: %v, %v\nbefore:\n%s\nafter:\n%s", cfg.RedirectTable, differences, err, before, tables())
			}
		}
		return nil
	})

	in(func() error { return RemoveRedirection(t.Context(), one) })
	in(func() error { return ReleaseRedirections(t.Context(), state) })
	if all, err := restore(); err != nil || len(all) != 1 || all[0].Table != "weft_two" {
		t.Errorf("restored %v, %v, want only what was not taken off", all, err)
	}
	in(func() error { _, err := ApplyRedirection(t.Context(), one, 0); return err })
	in(func() error { return ReleaseRedirections(t.Context(), state) })
	if err := os.WriteFile(two.lastRulesFile(), []byte(`{"engine": "magic"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if all, err := restore(); len(all) != 1 || all[0].Table != "weft" || err == nil || !strings.Contains(err.Error(), `two/redirect.last: there is no engine "magic"`) {
		t.Errorf("beside a broken file: %v, %v", all, err)
	}
}
