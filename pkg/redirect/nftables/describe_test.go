//go:build linux

package nftables

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/cgroup"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

func TestDescribe(t *testing.T) {
	outboundOnly := everything()
	outboundOnly.Inbound, outboundOnly.DNS, outboundOnly.VIPs = redirect.Inbound{}, redirect.DNS{}, nil
	inboundOnly := everything()
	inboundOnly.Outbound, inboundOnly.DNS, inboundOnly.VIPs = redirect.Outbound{}, redirect.DNS{}, nil
	nothing := redirect.Rules{Table: "weft-b"}
	lease := everything()
	lease.FailOpen = 30500 * time.Millisecond
	trial := everything()
	trial.ConfirmWithin = time.Minute
	for name, rules := range map[string]redirect.Rules{
		"everything": everything(), "exclusions": withExclusions(),
		"outbound": outboundOnly, "inbound": inboundOnly, "nothing": nothing,
		"lease": lease, "trial": trial, "words": everyWord(), "rewrite": rewriting(),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := New().Describe(rules)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+".nft")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal([]byte(got), want) {
				t.Errorf("description differs (-want +got):\n%s", cmp.Diff(string(want), got))
			}
		})
		// The text says what Apply does when nft makes of it, by its own
		// encoding, exactly what Check wants to see.
		t.Run(name+" means the same to nft", func(t *testing.T) {
			h := testnet.Hosts(t, 1)[0]
			text, err := New().Describe(rules)
			if err != nil {
				t.Fatal(err)
			}
			h.Pipe(t, text, "nft", "-c", "-f", "-")
			h.Pipe(t, text, "nft", "-f", "-")
			for _, d := range check(t, h, rules) {
				if d.What[:5] != "route" { // nft has no words for them
					t.Errorf("after nft -f: %s", d)
				}
			}
		})
	}
}

func TestApplyIsWhatNftShows(t *testing.T) {
	unit := withExclusions()
	unit.Outbound.Only.Cgroups = []string{newCgroup(t)}
	lease := withExclusions()
	lease.FailOpen = time.Hour // none of it runs out meanwhile
	trial := lease
	trial.ConfirmWithin = time.Hour
	for name, rules := range map[string]redirect.Rules{
		"exclusions": withExclusions(), "lease": lease, "trial": trial, "words": everyWord(), "rewrite": rewriting(), "a cgroup": unit} {
		t.Run(name, func(t *testing.T) {
			h := testnet.Hosts(t, 1)[0]
			install(t, h, rules)
			byUs := h.Run(t, "nft", "-s", "list", "ruleset")
			text, err := New().Describe(rules)
			if err != nil {
				t.Fatal(err)
			}
			other := testnet.Hosts(t, 1)[0]
			other.Pipe(t, text, "nft", "-f", "-")
			if diff := cmp.Diff(other.Run(t, "nft", "-s", "list", "ruleset"), byUs); diff != "" {
				t.Errorf("nft shows another table than it makes of the description (-description +apply):\n%s", diff)
			}
			for _, d := range check(t, h, rules) {
				t.Error(d)
			}
		})
	}
}

// systemd's NFTSet= puts a unit's cgroup into a set before the unit's processes
// start, and takes it out when it is gone. What it does is what we want.
func TestSystemdFillsSets(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	r := everything()
	unit := newCgroup(t)
	root, err := cgroup.Root()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(root, unit)
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	r.Outbound.Only.Cgroups = []string{unit}
	install(t, h, r)
	found, err := find(r.Normal())
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ verb, element string }{{"add", found.prefix + unit}, {"delete", found.prefix + unit}, {"add", found.prefix + unit}} {
		if step.verb == "add" {
			if err := os.Mkdir(folder, 0o755); err != nil {
				t.Fatal(err)
			}
			if len(check(t, h, r)) == 0 {
				t.Error("a unit that started is not missed")
			}
		}
		h.Run(t, "nft", step.verb, "element", "inet", "weft", "outbound_only_cgroups_1", "{ \""+step.element+"\" }")
		if step.verb == "delete" {
			if err := os.Remove(folder); err != nil {
				t.Fatal(err)
			}
		}
		if d := check(t, h, r); len(d) > 0 {
			t.Errorf("after %s: %v", step.verb, d)
		}
	}
}

// newCgroup makes a folder of the test's own and returns its path.
func newCgroup(t *testing.T) string {
	t.Helper()
	root, err := cgroup.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, fmt.Sprintf("weft-test-%d-describe", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return filepath.Base(dir)
}
