//go:build linux

package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/internal/testmesh"
)

var (
	randomCount = flag.Int("faults", 11, "how many random faults befall a mesh in a row")
	randomSeed  = flag.Uint64("faults-seed", 1, "which ones")
)

// A fault befalls a mesh under load. It ends with its cause gone.
type fault struct {
	name string
	// free: no request may fail for it.
	free bool
	do   func(t *testing.T, r *random)
}

// random is a mesh that faults befall.
type random struct {
	*life
	dice *rand.Rand
}

// any is one of the hosts that carry the load.
func (r *random) any() *testmesh.Host {
	return []*testmesh.Host{r.web, r.api, r.rpc}[r.dice.IntN(3)]
}

// wait lets up to so much time pass, while the mesh is at work.
func (r *random) wait(most time.Duration) {
	<-time.After(time.Duration(r.dice.Int64N(int64(most))))
}

// randomFaults are what may befall a mesh, each as likely as the others.
var randomFaults = []fault{
	{"agent killed and started", true, func(t *testing.T, r *random) {
		h := r.any()
		h.AgentProgram().Kill(t)
		r.wait(time.Second)
		h.StartAgent(t)
	}},
	{"agent stopped in its tracks", true, func(t *testing.T, r *random) {
		halt(t, r.any().AgentProgram().PID(), func() { r.wait(2 * time.Second) })
	}},
	{"Envoy killed", false, func(t *testing.T, r *random) { r.any().KillEnvoys(t) }},
	{"agent and Envoy killed, agent started", false, func(t *testing.T, r *random) {
		h := r.any()
		h.KillAll(t)
		h.StartAgent(t)
	}},
	{"control plane killed and started", true, func(t *testing.T, r *random) {
		r.StopControlPlane(t)
		r.wait(2 * time.Second)
		r.StartControlPlane(t)
	}},
	{"control plane stopped in its tracks", true, func(t *testing.T, r *random) {
		halt(t, r.ControlPlane().PID(), func() { r.wait(2 * time.Second) })
	}},
	{"control plane out of reach, without a word", true, func(t *testing.T, r *random) {
		h := r.any()
		h.Pipe(t, fmt.Sprintf(`table inet fault {
			chain out { type filter hook output priority -300; ip daddr %[1]s tcp dport 5678 drop; }
			chain in { type filter hook input priority -300; ip saddr %[1]s tcp sport 5678 drop; }
		}`, r.CP.IP4), "nft", "-f", "-")
		r.wait(3 * time.Second)
		h.Run(t, "nft", "delete", "table", "inet", "fault")
	}},
	{"somebody flushes the caller's rules", false, func(t *testing.T, r *random) { r.web.Run(t, "nft", "flush", "ruleset") }},
	{"resolv.conf names nobody for a while", true, func(t *testing.T, r *random) {
		h := r.any()
		h.UseResolver(t, "nameserver 192.0.2.99\n")
		r.wait(time.Second)
		h.UseResolver(t, fmt.Sprintf("nameserver %s\n", r.CP.IP4))
	}},
	{"what is kept on disk spoilt, agent killed and started", true, func(t *testing.T, r *random) {
		h := r.any()
		h.AgentProgram().Kill(t)
		spoil(t, h, r.dice)
		h.StartAgent(t)
	}},
	{"a policy comes and goes", true, func(t *testing.T, r *random) {
		r.Apply(t, "type: Timeout\nmesh: default\nname: random\nsources: [{match: {kuma.io/service: '*'}}]\ndestinations: [{match: {kuma.io/service: '*'}}]\nconf: {connectTimeout: 7s}\n")
		r.wait(time.Second)
		r.Ctl(t, "delete", "timeout", "random")
	}},
}

// halt stops a process and lets it go on.
func halt(t *testing.T, pid int, meanwhile func()) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	meanwhile()
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

// spoil turns one bit of every file that the host keeps what it was told in.
func spoil(t *testing.T, h *testmesh.Host, dice *rand.Rand) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(filepath.Join(h.Dir, "state"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Base(filepath.Dir(path)) != "xds" {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || len(b) == 0 {
			return err
		}
		n++
		b[dice.IntN(len(b))] ^= 1 << dice.IntN(8)
		return os.WriteFile(path, b, 0o600)
	})
	if err != nil || n == 0 {
		t.Fatalf("%d files spoilt, error %v", n, err)
	}
}

// TestRandomFaults has one fault after the other befall a mesh. Each ends with
// everything well, nobody is ever let in who is not permitted, and in the end
// there is no more of anything than in the beginning. -faults 200 is the long
// one.
func TestRandomFaults(t *testing.T) {
	t.Logf("%d faults of seed %d; repeat them with -faults %d -faults-seed %d", *randomCount, *randomSeed, *randomCount, *randomSeed)
	r := &random{life: newLife(t), dice: rand.New(rand.NewPCG(*randomSeed, 0))} //nolint:gosec // it chooses faults
	spy := r.Join(t, "spy")
	hosts := []*testmesh.Host{r.web, r.api, r.rpc, spy}
	testmesh.Eventually(t, "every host has kept what it was told", func() error {
		for _, h := range hosts {
			if sets, err := filepath.Glob(filepath.Join(h.Dir, "state", "xds", "set-*")); err != nil || len(sets) == 0 {
				return fmt.Errorf("%s has not: %w", h.Name, err)
			}
		}
		return nil
	})
	before := leftovers(t, r, hosts)

	calls := spy.Transport(t, "api.mesh")
	first := r.dice.Perm(len(randomFaults)) // each once
	for i := range *randomCount {
		f := randomFaults[r.dice.IntN(len(randomFaults))]
		if i < len(first) {
			f = randomFaults[first[i]]
		}
		most := 0
		if !f.free {
			most = 1 << 20
		}
		denied := watchDenied(t, r.life, calls)
		r.step(t, f.name, most, func(*testing.T) {
			f.do(t, r) // programs that it starts live until the whole test ends
			for _, h := range hosts {
				h.WaitWell(t)
			}
		})
		denied(t, f.name)
		if i%20 == 19 { // a load ends by itself after a while
			r.load.Stop()
			r.load = testmesh.StartMixed(t, r.web, testmesh.Targets{HTTP: "api.mesh", GRPC: "rpc.mesh"})
			r.load.AwaitMore(t, 10)
		}
	}
	r.load.Stop()
	testmesh.Eventually(t, "nothing is left over", func() error {
		if d := cmp.Diff(before, leftovers(t, r, hosts)); d != "" {
			return errors.New(d)
		}
		return nil
	})
	for _, h := range hosts {
		leavesNothing(t, h)
	}
}

// leavesNothing has a host leave, and wants nothing of the mesh to be left there:
// processes, files, sockets, memory, rules, routes.
func leavesNothing(t *testing.T, h *testmesh.Host) {
	t.Helper()
	shared := map[string]bool{} // of its Envoys
	for _, pid := range h.Envoys(t) {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		_, rest, is := strings.Cut(string(line), "--base-id\x00")
		id, _, _ := strings.Cut(rest, "\x00")
		file := "/dev/shm/envoy_shared_memory_" + id + "0" // Envoy multiplies
		if _, errStat := os.Stat(file); err != nil || errStat != nil || !is {
			t.Errorf("%s: the memory that its Envoys share was not found: %v, %v", h.Name, err, errStat)
		}
		shared[file] = true
	}
	if len(shared) != 1 {
		t.Errorf("%s: its Envoys share %v", h.Name, shared)
	}
	if out, err := h.Agent(t, "leave"); err != nil {
		t.Errorf("%s leaves: %v\n%s", h.Name, err, out)
	}
	h.AgentProgram().Wait(t)
	if left := h.Envoys(t); len(left) > 0 {
		t.Errorf("%s: Envoys are left: %v", h.Name, left)
	}
	for file := range shared {
		if _, err := os.Stat(file); err == nil {
			t.Errorf("%s: %s is left", h.Name, file)
		}
	}
	if left, err := filepath.Glob(h.Dir + "/*"); err != nil || len(left) > 0 {
		t.Errorf("%s: files are left: %v %v", h.Name, left, err)
	}
	for _, of := range [][]string{{"nft", "list", "ruleset"}, {"ip", "route", "show", "240.0.0.0/4"}, {"ip", "-6", "route", "show", "fd57:6566:7400::/64"}, {"ss", "-Hltun"}} {
		if out := h.Run(t, of[0], of[1:]...); strings.TrimSpace(out) != "" && (of[0] != "ss" || strings.Contains(out, ":150")) {
			t.Errorf("%s: %s has\n%s", h.Name, strings.Join(of, " "), out)
		}
	}
}

// watchDenied calls api as a member without permission and as a stranger, until
// what it returns is called: it fails the test where one of them was let in.
func watchDenied(t *testing.T, r *life, spy http.RoundTripper) (stop func(t *testing.T, during string)) {
	t.Helper()
	stranger := &http.Transport{DisableKeepAlives: true}
	stranger.DialContext = func(_ context.Context, network, _ string) (net.Conn, error) {
		return r.CP.TryDial(network, net.JoinHostPort(r.api.IP4.String(), "8080"))
	}
	member := testmesh.StartLoad(t, spy, "http://api.mesh/", 5)
	direct := testmesh.StartLoad(t, stranger, "http://api/", 5)
	return func(t *testing.T, during string) {
		t.Helper()
		for who, answers := range map[string]testmesh.Answers{"a member without permission": member.Stop(), "a stranger": direct.Stop()} {
			if answers["200"] > 0 || answers.Total() == 0 {
				t.Errorf("%s: %s was answered %v", during, who, answers)
			}
		}
	}
}

// leftovers are what faults may leave: processes, descriptors, rules, routes,
// files. Numbers are rounded up to what is normal.
func leftovers(t *testing.T, r *random, hosts []*testmesh.Host) map[string]any {
	t.Helper()
	found := map[string]any{"control plane descriptors": roundUp(descriptors(t, r.ControlPlane().PID()), 50)}
	for _, h := range hosts {
		envoys := h.Envoys(t)
		found[h.Name+" Envoys"] = len(envoys)
		for _, pid := range envoys {
			found[h.Name+" Envoy descriptors"] = roundUp(descriptors(t, pid), 100)
		}
		found[h.Name+" agent descriptors"] = roundUp(descriptors(t, h.AgentProgram().PID()), 50)
		found[h.Name+" rules"] = h.Run(t, "nft", "--stateless", "list", "ruleset")
		for _, family := range []string{"-4", "-6"} {
			found[h.Name+" routing "+family] = lines(h.Run(t, "ip", family, "rule")) + lines(h.Run(t, "ip", family, "route", "show", "table", "all"))
		}
		var files []string
		err := filepath.WalkDir(h.Dir, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			// What Envoy was when it worked is kept once it has lived long enough.
			if err == nil && !d.IsDir() && !strings.HasPrefix(d.Name(), "envoy.json") {
				files = append(files, strings.TrimPrefix(path, h.Dir))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		found[h.Name+" files"], found[h.Name+" sorts of files"] = roundUp(len(files), 40), sorts(files)
	}
	return found
}

// numbered are parts of names that differ from one start, and from one set, to
// the next.
var numbered = regexp.MustCompile(`[0-9]{2,}|-[0-9]+`)

// sorts are the names of files, of which equal sorts have one: what is spoilt
// was set aside on purpose, and after a renewal the certificate before is kept.
func sorts(files []string) (all []string) {
	for _, name := range files {
		if !strings.Contains(name, ".bad-") && !strings.HasSuffix(name, ".before") {
			all = append(all, numbered.ReplaceAllString(name, "N"))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func descriptors(t *testing.T, pid int) int {
	t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }

func lines(s string) string {
	l := strings.Split(s, "\n")
	slices.Sort(l)
	return strings.Join(l, "\n")
}
