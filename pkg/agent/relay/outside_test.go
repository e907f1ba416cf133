package relay

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// told waits for the next table of names, as "name address address, …".
func (g *rig) told() string {
	g.t.Helper()
	var parts []string
	for _, n := range take(g.t, g.names) {
		parts = append(parts, fmt.Sprint(n.Name, " ", n.Addresses))
	}
	return strings.Join(parts, ", ")
}

// A name of a host outside is handed on when Envoy listens for it and has the
// routes of that listener, with the addresses at which it listens; and taken
// back before Envoy is told to stop.
func TestNamesOutsideWaitForTheirListeners(t *testing.T) {
	cp := newCP(t)
	v4, v6 := netip.MustParseAddr("240.0.0.1"), netip.MustParseAddr("fd57:6566:7400::1")
	table := &hostv1.NameTable{}
	for _, n := range []string{"api.mesh", "other.example", "pay.example"} {
		a := v4
		if n == "other.example" {
			a = netip.MustParseAddr("240.0.0.9")
		}
		table.Names = append(table.Names, &hostv1.Name{Name: n, Addresses: [][]byte{a.AsSlice(), v6.AsSlice()}})
	}
	cp.put(namesType, &discoveryv3.Resource{Name: namesResource, Version: "1", Resource: mustAny(t, table)})
	cp.set(clusters, "c=1")
	cp.set(listeners, "in=1")
	g := newRig(t, cp)
	const mesh = "api.mesh [240.0.0.1 fd57:6566:7400::1]"
	if got := g.told(); got != mesh {
		t.Errorf("at first %q", got)
	}
	e := g.envoy()
	e.ask(clusters)
	e.ask(listeners)
	e.take("clusters c=1")
	e.take("listeners in=1")

	cp.set(listeners, "outbound:240.0.0.1:443=1")
	resp := e.want("listeners outbound:240.0.0.1:443=1")
	e.ask(routes, "r") // as Envoy asks before it acknowledges
	e.ack(resp)
	g.hears("listeners", "sent outbound:240.0.0.1:443=1", "ACK")
	select {
	case n := <-g.names:
		t.Errorf("names %v before Envoy has the routes of its listener", n)
	default:
	}
	cp.set(routes, "r=1")
	e.take("routes r=1")
	if got, want := g.told(), mesh+", pay.example [240.0.0.1]"; got != want {
		t.Errorf("with a listener %q, want %q", got, want)
	}

	cp.set(listeners, "outbound:240.0.0.1:443")
	resp = e.want("listeners -outbound:240.0.0.1:443")
	if got := g.told(); got != mesh {
		t.Errorf("while the listener goes %q, want %q", got, mesh)
	}
	e.ack(resp)
}

// Envoy may go and come back: a name that was handed on stays.
func TestNamesOutsideOutliveEnvoy(t *testing.T) {
	cp := newCP(t)
	cp.put(namesType, nameTable(t, "1", "pay.example"))
	cp.set(clusters, "c=1")
	cp.set(listeners, "outbound:240.0.0.1:443=1")
	g := newRig(t, cp)
	if got := g.told(); got != "" {
		t.Errorf("at first %q", got)
	}
	e := g.envoy()
	e.ask(clusters)
	e.ask(listeners)
	e.take("clusters c=1")
	e.take("listeners outbound:240.0.0.1:443=1")
	if got := g.told(); got != "pay.example [240.0.0.1]" {
		t.Errorf("with a listener %q", got)
	}
	e.close()
	e = g.envoy()
	e.ask(clusters)
	e.ask(listeners)
	e.take("clusters c=1")
	e.take("listeners outbound:240.0.0.1:443=1")
	g.hears("listeners", "sent outbound:240.0.0.1:443=1", "ACK")
	select {
	case n := <-g.names:
		t.Errorf("names %v while Envoy came back", n)
	default:
	}
}

// A new agent tells names of disk before it runs: those of hosts outside where
// Envoy went on without an agent, and listens for them.
func TestNamesOfDiskAreToldFirst(t *testing.T) {
	cp, dir := newCP(t), filepath.Join(t.TempDir(), "cache")
	cp.greet(true)
	table := &hostv1.NameTable{Names: []*hostv1.Name{
		{Name: "api.mesh", Addresses: [][]byte{{240, 0, 0, 2}}}, {Name: "pay.example", Addresses: [][]byte{{240, 0, 0, 1}}},
	}}
	cp.put(namesType, &discoveryv3.Resource{Name: namesResource, Version: "1", Resource: mustAny(t, table)})
	cp.set(clusters, "c=1")
	cp.set(listeners, "outbound:240.0.0.1:443=1")
	g := newRig(t, cp, keeping(dir))
	e := g.envoy()
	e.ask(clusters)
	e.take("clusters c=1")
	e.ask(listeners)
	e.take("listeners outbound:240.0.0.1:443=1")
	g.waitSynced()
	g.stop()
	for runs, want := range map[bool]string{true: "[api.mesh pay.example]", false: "[api.mesh]"} {
		var told []string
		r := New(Config{ID: testID, CacheDir: dir, OnNames: func(names []proxy.Name) {
			for _, n := range names {
				told = append(told, n.Name)
			}
		}})
		r.Open(runs)
		if got := fmt.Sprint(told); got != want {
			t.Errorf("Envoy runs: %t; told %s, want %s", runs, got, want)
		}
	}
}

// A secret of the mesh goes the way of everything else; the identity's do not.
func TestSecretsOfTheMesh(t *testing.T) {
	cp := newCP(t)
	cp.set(clusters, "c=1")
	cp.set(secrets, "external:pay:ca=1", proxy.IdentitySecret("default")+"=1")
	g := newRig(t, cp)
	e := g.envoy()
	e.ask(clusters)
	e.take("clusters c=1")
	e.ask(secrets, "external:pay:ca")
	e.take("secrets external:pay:ca=1")
	cp.set(secrets, "external:pay:ca=2")
	e.take("secrets external:pay:ca=2")
	g.hears("secrets", "open [external:pay:ca] claims []", "sent external:pay:ca=1", "ACK", "sent external:pay:ca=2", "ACK")
}
