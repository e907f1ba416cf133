//go:build linux

package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testmesh"
	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/internal/testtime"
	"github.com/weft-mesh/weft/pkg/api"
)

// handedOn is within how long hosts are served elsewhere whose replica stops,
// or does not reach the database any more.
const handedOn = 2 * time.Second

// vanished is the same where a replica is cut off from its hosts as well: its
// kernel does not answer any more, and theirs ask twice.
const vanished = 6 * time.Second

var (
	partitions = flag.Int("partition-rounds", 1, "how often a replica is cut off and healed, every three seconds")
	partition  = flag.Duration("partition", 0, "how long a replica is cut off in each direction, beside the short time of each run")
)

// TestReplicaHandsOn has real hosts on three control planes that stop in order,
// lose the database alone, and lose it with all others, while two hosts talk;
// then the control planes' authority is exchanged.
func TestReplicaHandsOn(t *testing.T) {
	r := testmesh.NewReplicas(t, 3)
	p := &passage{Replicas: r, whole: t, within: handedOn}
	for _, service := range []string{"a", "b", "c", "d"} {
		p.hosts = append(p.hosts, r.Join(t, service))
	}
	a, b := p.hosts[0], p.hosts[1]
	service(t, b, "127.0.0.1")
	r.Allow(t, "a", "b")
	a.WaitAnswer(t, "http://b.mesh/")
	for _, h := range p.hosts {
		testmesh.Eventually(t, h.Service+" knows all control planes", func() error {
			known := h.Status(t).Identity.ControlPlanes
			for _, one := range r.All {
				if !strings.Contains(fmt.Sprint(known), one.IP4.String()) {
					return fmt.Errorf("it knows %q", known)
				}
			}
			return nil
		})
	}
	calls := testmesh.StartLoad(t, a.Transport(t, "b.mesh"), "http://b.mesh/", 50)
	oldToken := r.JoinToken(t, "e")

	step := func(name string, f func(t *testing.T)) {
		if !t.Run(name, f) {
			t.FailNow()
		}
	}
	step("a further one without the key of secrets says so", p.keyless)
	step("one is stopped in order", func(t *testing.T) {
		one, there := p.crowded(t)
		began := testtime.Start(t)
		one.Program().Stop(t)
		p.wantMoved(t, one, there, began)
		one.StartReplica(p.whole)
	})
	for _, direction := range []string{"", "in", "out"} {
		step("one is cut off the database "+direction, func(t *testing.T) { p.cutOff(t, direction, 0, r.DB) })
	}
	step("one is cut off the database and the others", func(t *testing.T) { p.cutOff(t, "", 0, append(p.replicas(), r.DB)...) })
	step("one is cut off everything, its hosts too", func(t *testing.T) {
		from := append(p.replicas(), r.DB)
		for _, h := range p.hosts {
			from = append(from, h.Host)
		}
		p.within = vanished
		p.cutOff(t, "", 0, from...)
		p.within = handedOn
	})
	for _, direction := range []string{"", "in"} {
		if *partition > 0 {
			step(fmt.Sprintf("one is cut off for %s %s", *partition, direction), func(t *testing.T) { p.cutOff(t, direction, *partition, r.DB) })
		}
	}
	step("one is cut off and healed every three seconds", p.flap)
	step("the database is away for all", p.databaseAway)
	step("the control planes exchange their authority", func(t *testing.T) { p.exchange(t, oldToken) })

	got := calls.Stop()
	if got["200"] != got.Total() || got.Total() < 100 {
		t.Errorf("calls between hosts: %v, want 200 alone", got)
	}
	t.Logf("F14: seed none (order is fixed), partitions %d, moves %d, longest without a control plane that reaches the database %s, where the network was gone %s; calls %d, failed %d",
		p.cuts, p.moves, p.longest.Round(time.Millisecond), p.gone.Round(time.Millisecond), got.Total(), got.Total()-got["200"])
}

type passage struct {
	*testmesh.Replicas
	whole       *testing.T // what a step starts is to outlive it
	hosts       []*testmesh.Host
	cuts, moves int
	changes     int
	within      time.Duration // hosts have to be served elsewhere
	longest     time.Duration
	gone        time.Duration // the same, where a replica's hosts did not reach it
}

// replicas are the hosts of all control planes.
func (p *passage) replicas() (all []*testnet.Host) {
	for _, r := range p.All {
		all = append(all, r.Host)
	}
	return all
}

// keyless starts a control plane whose data directory is empty.
func (p *passage) keyless(t *testing.T) {
	one := testmesh.NewReplica(t, p.Net.Host("keyless"), "--store", "postgres", "--store-dsn", p.DSN, "--advertise", "192.0.2.1")
	one.Launch(t)
	if code := one.Program().Wait(t); code != 1 {
		t.Errorf("it ended with %d", code)
	}
	for _, words := range []string{"secrets.key is not there", "take that of another replica"} {
		if out := one.Program().Output(); !strings.Contains(out, words) {
			t.Errorf("it does not say %q:\n%s", words, out)
		}
	}
}

// streams are when each host came to the control plane that it follows.
func (p *passage) streams(t *testing.T, of []*testmesh.Host) (all []string) {
	t.Helper()
	for _, h := range of {
		s := h.Status(t)
		all = append(all, fmt.Sprint(h.Service, " at ", s.Identity.ControlPlane, " since ", s.Relay.ControlPlane.Since.Format(time.StampMilli), " ", s.Relay.ControlPlane.Connected))
	}
	return all
}

// cutOff cuts one replica off, and wants its hosts to be served elsewhere while
// those of others stay, and all of them to stay when it is healed.
func (p *passage) cutOff(t *testing.T, direction string, rest time.Duration, from ...*testnet.Host) {
	one, there := p.crowded(t)
	from = slices.DeleteFunc(from, func(h *testnet.Host) bool { return h == one.Host })
	elsewhere := slices.DeleteFunc(slices.Clone(p.hosts), func(h *testmesh.Host) bool { return slices.Contains(there, h) })
	stay := p.streams(t, elsewhere)
	began := testtime.Start(t)
	for _, h := range from {
		one.Cut(t, h, direction)
	}
	p.cuts++
	p.wantMoved(t, one, there, began)
	p.oneLeads(t, rest)
	if now := p.streams(t, elsewhere); !slices.Equal(now, stay) {
		t.Errorf("hosts of others moved: %q, before %q", now, stay)
	}
	moved := p.streams(t, p.hosts)
	one.Heal(t)
	p.sees(t, one)
	if now := p.streams(t, p.hosts); !slices.Equal(now, moved) {
		t.Errorf("hosts moved when all was well: %q, before %q", now, moved)
	}
	p.follows(t)
}

// sees waits until a replica reaches the database.
func (p *passage) sees(t *testing.T, one *testmesh.Replica) {
	t.Helper()
	testmesh.Eventually(t, one.Name+" reaches the database", func() error {
		code, h, _, err := one.Ask(http.MethodGet, "/meshes/default", nil)
		if err != nil || code != 200 || h.Get("Warning") != "" {
			return fmt.Errorf("status %d, warning %q, %w", code, h.Get("Warning"), err)
		}
		return nil
	})
}

// oneLeads looks for as long, each 100 ms, that no two lead.
func (p *passage) oneLeads(t *testing.T, long time.Duration) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(long); ; <-tick.C {
		var leaders []string
		for _, r := range p.All {
			if leads, err := r.Leads(); err == nil && leads {
				leaders = append(leaders, r.Name)
			}
		}
		if len(leaders) > 1 {
			t.Errorf("%q lead", leaders)
		}
		if time.Now().After(end) {
			return
		}
	}
}

// follows wants a change to come to every host.
func (p *passage) follows(t *testing.T) {
	t.Helper()
	p.changes++
	name := fmt.Sprintf("e2e-%d", p.changes)
	// Right after a partition a connection may be left that nobody answers: 503.
	testmesh.Eventually(t, name+" is taken", func() error {
		code, _, text, err := p.All[0].Ask(http.MethodPut, "/meshes/default/external-services/"+name, map[string]any{
			"type": "ExternalService", "mesh": "default", "name": name,
			"tags": map[string]string{"kuma.io/service": name}, "networking": map[string]any{"address": "192.0.2.9:80"},
		})
		if err != nil || code >= 300 {
			return fmt.Errorf("status %d, %w: %s", code, err, text)
		}
		return nil
	})
	for _, h := range p.hosts {
		testmesh.Eventually(t, h.Service+" knows what is new", func() error {
			out, err := h.TryRun(t, "getent", "ahostsv4", name+".mesh")
			if err != nil || out == "" {
				return fmt.Errorf("%w: %q", err, out)
			}
			return nil
		})
	}
}

// flap cuts one off and heals it, again and again.
func (p *passage) flap(t *testing.T) {
	one, _ := p.crowded(t)
	before := p.streams(t, p.hosts)
	for range *partitions {
		one.Cut(t, p.DB, "")
		p.oneLeads(t, 3*time.Second)
		one.Heal(t)
		p.oneLeads(t, 3*time.Second)
		p.cuts++
	}
	p.sees(t, one)
	p.follows(t)
	t.Logf("streams were %q, are %q", before, p.streams(t, p.hosts))
}

// databaseAway wants nobody to move.
func (p *passage) databaseAway(t *testing.T) {
	before := p.streams(t, p.hosts)
	p.PG.Stop(t, syscall.SIGINT)
	for _, one := range p.All {
		awaitAway(t, one)
	}
	p.oneLeads(t, 5*time.Second)
	if now := p.streams(t, p.hosts); !slices.Equal(now, before) {
		t.Errorf("hosts moved: %q, before %q", now, before)
	}
	p.PG.Start(p.whole)
	for _, one := range p.All {
		p.sees(t, one)
	}
	p.follows(t)
	if now := p.streams(t, p.hosts); !slices.Equal(now, before) {
		t.Errorf("hosts moved when the database was back: %q, before %q", now, before)
	}
}

// exchange exchanges the control planes' authority with one host offline in the
// first stage, one control plane restarted in each, and a join by an old token at
// the end.
func (p *passage) exchange(t *testing.T, oldToken string) {
	own := func() (a api.OwnAuthority) {
		out := p.Ctl(t, "ca", "status", "--control-plane", "-o", "json")
		if err := json.Unmarshal([]byte(out), &a); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return a
	}
	stage := func(want string) {
		t.Helper()
		testmesh.Eventually(t, "the exchange is in stage "+want, func() error {
			is := "over"
			r := own().Rotation
			if r != nil {
				is = r.Stage
			}
			if is != want {
				return fmt.Errorf("it is %s: %+v", is, r)
			}
			return nil
		})
	}
	restart := func(one *testmesh.Replica) {
		one.Program().Stop(t)
		one.StartReplica(p.whole)
	}
	first := own()
	late := p.hosts[3]
	late.AgentProgram().Stop(t)
	p.Ctl(t, "ca", "rotate", "--control-plane", "--wait", "2s", "--patience", "10m")
	restart(p.All[1])
	testmesh.Eventually(t, "all hosts but one have answered", func() error {
		if r := own().Rotation; r == nil || r.Ready != 3 || r.Dataplanes != 4 || r.Stage != "spread" {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	late.StartAgent(p.whole)
	stage("renew")
	restart(p.All[2])
	stage("over")
	now := own()
	if now.Fingerprint == first.Fingerprint || now.Former != first.Fingerprint || now.ID != first.ID {
		t.Errorf("was %+v, is %+v", first, now)
	}
	for _, h := range p.hosts {
		testmesh.Eventually(t, h.Service+" knows the new authority alone", func() error {
			id := h.Status(t).Identity
			if id.Authority != now.Fingerprint || len(id.Authorities) != 1 || id.Authorities[0] != now.Fingerprint {
				return fmt.Errorf("it knows %q, its certificate is of %s", id.Authorities, id.Authority)
			}
			return nil
		})
	}
	restart(p.All[0])
	p.follows(t)
	h := p.NewHost(t, "e")
	h.JoinMesh(t, oldToken)
	h.StartAgent(p.whole)
	h.WaitWell(t)
	testmesh.Eventually(t, "a host that joined by an old token knows the new authority", func() error {
		if id := h.Status(t).Identity; id.Authority != now.Fingerprint || !slices.Equal(id.Authorities, []string{now.Fingerprint}) {
			return fmt.Errorf("it knows %q, its certificate is of %s", id.Authorities, id.Authority)
		}
		return nil
	})
	t.Logf("from %.12s to %.12s; hosts %d, one of them offline", first.Fingerprint, now.Fingerprint, len(p.hosts))
}

// at is the address of the control plane that a host follows; "": none.
func at(t *testing.T, h *testmesh.Host) string {
	t.Helper()
	s := h.Status(t)
	if !s.Relay.ControlPlane.Connected {
		return ""
	}
	host, _, err := net.SplitHostPort(s.Identity.ControlPlane)
	if err != nil {
		t.Fatal(err)
	}
	return host
}

// crowded is the replica that has most of the hosts.
func (p *passage) crowded(t *testing.T) (one *testmesh.Replica, there []*testmesh.Host) {
	t.Helper()
	on := map[string][]*testmesh.Host{}
	for _, h := range p.hosts {
		a := at(t, h)
		on[a] = append(on[a], h)
	}
	for _, r := range p.All {
		if has := on[r.IP4.String()]; len(has) > len(there) {
			one, there = r, has
		}
	}
	return one, there
}

// wantMoved wants hosts to be served by others than from.
func (p *passage) wantMoved(t *testing.T, from *testmesh.Replica, hosts []*testmesh.Host, began *testtime.Watch) {
	t.Helper()
	to := map[string]int{}
	var longest time.Duration
	start := time.Now().Add(-began.Took() - began.Stood())
	for _, h := range hosts {
		var now string
		testmesh.Eventually(t, h.Service+" is served elsewhere", func() error {
			if now = at(t, h); now == "" || now == from.IP4.String() {
				return fmt.Errorf("it is with %q", now)
			}
			return nil
		})
		to[now]++
		p.moves++
		took := h.Status(t).Relay.ControlPlane.Since.Sub(start)
		longest = max(longest, took)
		if p.within == handedOn {
			p.longest = max(p.longest, took)
		} else {
			p.gone = max(p.gone, took)
		}
		if took > p.within+began.Stood() {
			t.Errorf("%s was served elsewhere after %s, %s is the most\n%s", h.Service, took, p.within, h.AgentProgram().Output())
		}
	}
	t.Logf("%d hosts of %s were served elsewhere within %s, by %v", len(hosts), from.Name, longest.Round(time.Millisecond), to)
}
