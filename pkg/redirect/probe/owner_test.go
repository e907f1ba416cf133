//go:build linux

package probe_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/cgroup"
	"github.com/weft-mesh/weft/pkg/redirect/nftables"
	"github.com/weft-mesh/weft/pkg/redirect/probe"
)

// folders makes a cgroup with one in it.
func folders(t *testing.T) (outer, inner string) {
	t.Helper()
	root, err := cgroup.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, fmt.Sprint("weft-probe-test-", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	in := filepath.Join(dir, "inner")
	if err := os.Mkdir(in, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, d := range []string{in, dir} {
			if err := os.Remove(d); err != nil && !errors.Is(err, unix.ENOENT) {
				t.Error(err)
			}
		}
	})
	outer, err = filepath.Rel(root, dir)
	if err != nil {
		t.Fatal(err)
	}
	return outer, filepath.Join(outer, "inner")
}

// Users, groups and cgroups are played as what they are, each in the list that
// names it.
func TestOwnersArePlayed(t *testing.T) {
	s := newScene(t)
	outer, inner := folders(t)
	r := rules()
	r.Outbound.Only.Cgroups = []string{outer}
	r.Outbound.Exclude.Cgroups = []string{inner}
	r.Outbound.Exclude.GIDs = []uint32{4243}
	r.DNS.Exclude.Cgroups = []string{inner}
	r.Proxy.UIDs, r.Proxy.GIDs = []uint32{1337}, []uint32{1338}
	s.apply(t, r)
	report := s.probe(t, r)
	if !report.Well {
		t.Errorf("not well:\n%s", text(report))
	}
	for _, want := range []string{
		"F1: a call to another host: the proxy", "out of scope: a call to another host: straight out by eth0", "excluded user 4242: straight out by eth0", "excluded group 4243: straight out by eth0",
		"excluded cgroup " + inner + ": straight out by eth0", "F5: the proxy user 1337: straight out by eth0", "F5: the proxy group 1338: straight out by eth0",
		"DNS over UDP: excluded cgroup " + inner + ": straight there", "DNS over TCP: excluded cgroup " + inner + ": straight there", "DNS over UDP: a query to another host: the agent",
	} {
		for _, family := range []string{"IPv4 ", "IPv6 "} {
			if !strings.Contains(report.String(), "\nok        "+family+want) && !strings.HasPrefix(report.String(), "ok        "+family+want) {
				t.Errorf("no %q in\n%s", family+want, report)
			}
		}
	}
	// A scope that nobody is in: the folder was made anew, and has another id.
	root, _ := cgroup.Root()
	for _, do := range []func() error{
		func() error { return os.Remove(filepath.Join(root, inner)) }, func() error { return os.Mkdir(filepath.Join(root, inner), 0o755) },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	if report := s.probe(t, r); report.Well || !strings.Contains(report.Faults[0].What, "cgroup") {
		t.Errorf("a cgroup made anew is not named:\n%s", text(report))
	}
}

// Whatever the rules are, what arrives where they lead is well.
func TestOtherRules(t *testing.T) {
	for name, change := range map[string]func(*redirect.Rules, *probe.Prober){
		"every port": func(r *redirect.Rules, _ *probe.Prober) {
			r.Inbound.Ports, r.Inbound.All = nil, true
			r.Inbound.ExcludePorts = []redirect.PortRange{{First: 22, Last: 22}, {First: 9000, Last: 9010}}
		},
		"rewritten": func(r *redirect.Rules, _ *probe.Prober) { r.Inbound.Method = redirect.Rewrite },
		"inbound alone": func(r *redirect.Rules, _ *probe.Prober) {
			r.Outbound, r.DNS, r.VIPs = redirect.Outbound{}, redirect.DNS{}, nil
		},
		"calls alone": func(r *redirect.Rules, _ *probe.Prober) { r.Inbound, r.DNS = redirect.Inbound{}, redirect.DNS{} },
		"excluded interfaces": func(r *redirect.Rules, _ *probe.Prober) {
			r.Outbound.ExcludeInterfaces = []string{"eth*", "docker0"}
		},
		"a lease":          func(r *redirect.Rules, _ *probe.Prober) { r.FailOpen = time.Minute },
		"without a tracer": func(_ *redirect.Rules, p *probe.Prober) { p.Tracer = nil },
		"inside":           func(_ *redirect.Rules, p *probe.Prober) { p.Inside = true },
		"who looks is excluded": func(r *redirect.Rules, _ *probe.Prober) {
			r.Outbound.Exclude.UIDs, r.DNS.Exclude.UIDs = []uint32{0}, []uint32{0}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, r := newScene(t), rules()
			change(&r, new(probe.Prober))
			s.apply(t, r)
			report := s.probe(t, r, func(p *probe.Prober) { change(&r, p) })
			if !report.Well {
				t.Errorf("not well:\n%s", text(report))
			}
		})
	}
}

// A lease or a trial that has run out is no fault of the rules: then calls go
// straight, and that is what is looked for.
func TestRunOut(t *testing.T) {
	for name, change := range map[string]func(*redirect.Rules, *probe.Prober){
		"the lease": func(r *redirect.Rules, p *probe.Prober) { r.FailOpen, p.LeaseOver = time.Second, true },
		"the trial": func(r *redirect.Rules, p *probe.Prober) { r.ConfirmWithin, p.TrialOver = time.Second, true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, r := newScene(t), rules()
			change(&r, new(probe.Prober))
			s.apply(t, r)
			deadline := time.After(testnet.Patience)
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for left := (redirect.Remaining{FailOpen: 1}); left != (redirect.Remaining{}); {
				select {
				case <-tick.C:
				case <-deadline:
					t.Fatal("it does not run out")
				}
				if err := s.Do(func() (err error) {
					left, err = nftables.New().Remaining(t.Context(), "")
					return err
				}); err != nil {
					t.Fatal(err)
				}
			}
			if report := s.probe(t, r, func(p *probe.Prober) { change(&r, p) }); !report.Well {
				t.Errorf("not well:\n%s", text(report))
			}
		})
	}
}
