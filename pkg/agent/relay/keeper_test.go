package relay

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
)

func away(c *Config) {
	c.Dial = func(context.Context, ...grpc.DialOption) (*grpc.ClientConn, error) {
		return nil, errors.New("nobody is there")
	}
}

// eventually waits for what the relay tells nobody about.
func (g *rig) eventually(what string, ok func() bool) {
	g.t.Helper()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-deadline:
			g.t.Fatalf("still waiting: %s; status %+v", what, g.Status())
		}
	}
}

func small(t *testing.T, cp *fakeCP) {
	cp.greet(true)
	cp.set(clusters, "a=1", "b=1")
	cp.set(endpoints, "a=1")
	cp.set(listeners, "in=1")
	cp.put(namesType, nameTable(t, "1", "api.mesh"))
}

// serveSmall is an Envoy that takes all of small.
func (g *rig) serveSmall() *envoy {
	g.t.Helper()
	e := g.envoy()
	e.ask(clusters)
	e.take("clusters a=1 b=1")
	e.ask(endpoints, "a")
	e.take("endpoints a=1")
	e.ask(listeners)
	e.take("listeners in=1")
	g.waitSynced()
	return e
}

// newestOf reads what is on disk while a relay has it.
func newestOf(t *testing.T, dir string) *kept {
	t.Helper()
	var newest string
	var last uint64
	for _, f := range left(t, dir, "set-*") {
		if seq, ok := seqOf(filepath.Base(f)); ok && seq > last {
			newest, last = f, seq
		}
	}
	data, err := os.ReadFile(newest)
	if err != nil {
		t.Fatal(err)
	}
	k, err := decodeKept(testID.String(), data)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func showSet(k *kept, i int) string {
	return show(&deltaResponse{TypeUrl: kinds[i].url, Resources: k[i].resources})
}

// keptSmall makes a folder with what a relay keeps that was told of small.
func keptSmall(t *testing.T) (dir string, cp *fakeCP) {
	dir = filepath.Join(t.TempDir(), "xds")
	cp = newCP(t)
	small(t, cp)
	g := newRig(t, cp, keeping(dir))
	g.held(clusters, 2)
	g.held(listeners, 1)
	g.held(names, 1)
	g.serveSmall()
	g.stop()
	return dir, cp
}

func TestServesFromDisk(t *testing.T) {
	dir, cp := keptSmall(t)
	cp.stop()

	g := newRig(t, cp, keeping(dir), func(c *Config) { c.proof = time.Millisecond })
	if list := <-g.names; len(list) != 1 || list[0].Name != "api.mesh" {
		t.Errorf("DNS was given %v", list)
	}
	g.serveSmall()
	s := g.Status().Cache
	if s.ServingSince.IsZero() || s.Saved.IsZero() || s.Saved.After(s.ServingSince) || s.Fault != "" {
		t.Errorf("status %+v", s)
	}
	g.eventually("the trial ends", func() bool {
		_, err := os.Stat(filepath.Join(dir, "trial"))
		return os.IsNotExist(err)
	})

	// It is back, with something changed, something new and something gone.
	cp.forget()
	cp.set(clusters, "a=2", "b")
	cp.set(listeners, "in=1", "out=1")
	cp.start(t)
	g.hears("clusters", "open [] claims [a=1 b=1]", "sent a=2 b")
	g.hears("names", "open [names] claims [names=1]")
	g.hears("endpoints", "open [a] claims [a=1]")
	g.eventually("the control plane has spoken", func() bool { return g.Status().Cache.ServingSince.IsZero() })
	g.stop()

	cp.stop()
	g = newRig(t, cp, keeping(dir))
	e := g.envoy()
	e.ask(clusters)
	e.take("clusters a=1 b=1") // what Envoy never took is not what it took last
}

// What was told while an Envoy is there replaces what is on disk.
func TestKeepsTheNewest(t *testing.T) {
	dir, cp := keptSmall(t)
	g := newRig(t, cp, keeping(dir))
	g.eventually("the control plane has spoken", func() bool { return g.Status().Cache.ServingSince.IsZero() && g.Status().ControlPlane.Connected })
	e := g.serveSmall()
	cp.set(clusters, "a=2", "b")
	e.take("clusters a=2") // and its endpoints are sent again
	e.take("endpoints a=1")
	e.take("clusters -b")

	cp.set(listeners, "in=bad")
	e.nack(e.want("listeners in=bad"), "no")
	cp.put(namesType, nameTable(t, "2", "web.mesh"))
	g.eventually("it is kept", func() bool {
		k := newestOf(t, dir)
		return k[names].resources[0].Version == "2" && showSet(k, clusters) == "clusters a=2" && showSet(k, listeners) == "listeners in=1"
	})
	g.stop()
}

// An Envoy that has accepted a part only leaves what is on disk alone.
func TestKeepsNoParts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "xds")
	cp := newCP(t)
	small(t, cp)
	g := newRig(t, cp, keeping(dir))
	g.held(clusters, 2)
	e := g.envoy()
	e.ask(clusters)
	e.take("clusters a=1 b=1")
	e.ask(endpoints, "a")
	e.want("endpoints a=1") // and there is no answer
	g.held(listeners, 1)
	e.ask(listeners)
	e.take("listeners in=1")
	g.eventually("that was heard", func() bool { return g.Status().Kinds[listeners].Accepted == 1 })
	g.stop()
	if files := left(t, dir, "*"); len(files) > 0 {
		t.Errorf("kept %v", files)
	}
}

// An Envoy waits for an answer about clusters, be there any or not.
func TestServesNoneFromDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "xds")
	c, _ := openTest(t, dir)
	var k kept
	k[listeners].resources = []*discoveryv3.Resource{keptResource(listeners, "in", "1")}
	c.save(&k, time.Time{}, proof)
	g := newRig(t, newCP(t), keeping(dir), away)
	e := g.envoy()
	e.ask(clusters)
	e.take("clusters")
	e.ask(listeners)
	e.take("listeners in=1")
	g.waitSynced()
}

// TestPoison has an Envoy that ends whenever it has been given the newest set.
func TestPoison(t *testing.T) {
	poisoned := func(t *testing.T) string {
		dir, _ := keptSmall(t)
		c, _ := openTest(t, dir)
		l := c.load()
		c.lived(l.seq, true)
		bad := *l.set
		bad[clusters].resources = []*discoveryv3.Resource{keptResource(clusters, "poison", "1")}
		c.save(&bad, time.Time{}, proof)
		return dir
	}
	// dies takes an Envoy as far as its end, and tells what it was given.
	dies := func(g *rig) string {
		e := g.envoy()
		e.ask(clusters)
		given, _ := e.next()
		e.close()
		return given
	}
	check := func(t *testing.T, g *rig, given []string) {
		t.Helper()
		want := []string{"clusters poison=1", "clusters poison=1", "clusters a=1 b=1"}
		if !slices.Equal(given, want) {
			t.Errorf("Envoys were given %q, want %q", given, want)
		}
		if s := g.Status().Cache; len(s.PassedOver) != 1 || !strings.Contains(s.PassedOver[0], "did not live with it") || s.ServingSince.IsZero() {
			t.Errorf("status %+v", s)
		}
	}
	t.Run("by the same agent", func(t *testing.T) {
		g := newRig(t, newCP(t), keeping(poisoned(t)), away)
		check(t, g, []string{dies(g), dies(g), dies(g)})
		g.serveSmall()
	})
	t.Run("by one agent after the other", func(t *testing.T) {
		dir := poisoned(t)
		var given []string
		for range 2 {
			g := newRig(t, newCP(t), keeping(dir), away)
			given = append(given, dies(g))
			g.eventually("Envoy is gone", func() bool { return !g.Status().Envoy.Connected })
			g.stop()
		}
		g := newRig(t, newCP(t), keeping(dir), away)
		check(t, g, append(given, dies(g)))
	})
	t.Run("until nothing is left", func(t *testing.T) {
		cp := newCP(t)
		small(t, cp)
		cp.stop()
		g := newRig(t, cp, keeping(poisoned(t)))
		for range 4 {
			dies(g)
		}
		e := g.envoy()
		e.ask(clusters)
		g.eventually("nothing is served", func() bool { s := g.Status(); return s.Cache.ServingSince.IsZero() && s.Kinds[clusters].Held == 0 })
		cp.start(t)
		e.take("clusters a=1 b=1")
	})
	t.Run("an agent that is stopped blames no set", func(t *testing.T) {
		dir := poisoned(t)
		for range 5 {
			g := newRig(t, newCP(t), keeping(dir), away)
			e := g.envoy()
			e.ask(clusters)
			e.take("clusters poison=1")
			g.stop()
		}
	})
}

// A set that is given up while the control plane is heard takes back what was
// claimed of it.
func TestPoisonClaimsAreTakenBack(t *testing.T) {
	dir, cp := keptSmall(t)
	c, _ := openTest(t, dir)
	l := c.load()
	c.lived(l.seq, true)
	bad := *l.set
	bad[clusters].resources = []*discoveryv3.Resource{keptResource(clusters, "poison", "1")}
	c.save(&bad, time.Time{}, proof)
	cp.forget()
	cp.greet(false) // it says nothing where nothing differs
	cp.set(clusters, "a", "b", "poison=1")
	g := newRig(t, cp, keeping(dir))
	g.hears("listeners", "open [] claims [in=1]")
	for range 3 {
		e := g.envoy()
		e.ask(clusters)
		e.next()
		e.close()
	}
	g.hears("clusters", "open [] claims [poison=1]", "open [] claims [a=1 b=1]", "sent poison=1 a b")
}

// What an earlier Envoy took, a later one may refuse: it is neither sent to it
// again and again nor kept.
func TestRefusedFromDisk(t *testing.T) {
	dir, cp := keptSmall(t)
	cp.stop()
	g := newRig(t, cp, keeping(dir))
	e := g.envoy()
	e.ask(clusters)
	e.nack(e.want("clusters a=1 b=1"), "which?")
	e.take("clusters a=1")
	e.nack(e.want("clusters b=1"), "no")
	e.ask(endpoints, "a")
	e.take("endpoints a=1")
	e.ask(listeners)
	e.take("listeners in=1")
	g.waitSynced()
	g.stop()
	if got := showSet(newestOf(t, dir), clusters); got != "clusters a=1" {
		t.Errorf("kept %s", got)
	}
}

// A folder that cannot be used is told, and nothing else.
func TestNoFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "xds")
	write(t, dir, nil, 0o600)
	cp := newCP(t)
	small(t, cp)
	g := newRig(t, cp, keeping(dir))
	g.held(clusters, 2)
	g.held(listeners, 1)
	g.serveSmall()
	if s := g.Status().Cache; s.Fault == "" {
		t.Errorf("status %+v", s)
	}
}

// TestWritesAgain has a folder that cannot be written for a while; the set is
// kept later though nothing changes any more.
func TestWritesAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "xds")
	cp := newCP(t)
	small(t, cp)
	g := newRig(t, cp, keeping(dir))
	g.eventually("the relay runs", func() bool { return g.Status().ControlPlane.Connected })
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	g.held(clusters, 2)
	g.held(listeners, 1)
	e := g.serveSmall()
	g.eventually("the fault is told", func() bool { return g.Status().Cache.Fault != "" })
	e.close()
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	g.eventually("the set is kept", func() bool { return g.Status().Cache.Fault == "" && len(left(t, dir, "set-*")) == 1 })
}
