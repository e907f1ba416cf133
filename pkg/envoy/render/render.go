package render

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// Resources renders what is a proxy's own: its listeners, clusters and routes.
//
// It fails when the plan contradicts itself (an address taken twice, one name
// for two clusters) or holds what Envoy cannot be told, with all faults at once.
func Resources(c *proxy.Config) (*Bundle, error) {
	r := &renderer{cfg: c, b: &Bundle{}, local: make(map[workload]string), balancers: make(map[string]string), outsiders: map[string]bool{}, packed: map[string]*anypb.Any{}}
	for _, cl := range c.Clusters {
		r.outsiders[cl.Name] = cl.External != nil
		if cl.LoadBalancer != nil {
			r.balancers[cl.Name] = cl.LoadBalancer.Policy
		}
	}
	if c.Template == nil || !c.Template.Bare {
		r.parts()
	}
	if c.Template != nil {
		r.apply(c.Template)
	}
	r.b.Listeners = r.sorted("listener", r.b.Listeners)
	r.b.Clusters = r.sorted("cluster", r.b.Clusters)
	r.b.Routes = r.sorted("route", r.b.Routes)
	if err := errors.Join(r.errs...); err != nil {
		return nil, err
	}
	return r.b, nil
}

// Twice says that a plan, or two parts of one, have one name for two things.
func Twice(kind, name string) error {
	return fmt.Errorf("%s %q is planned twice, in different ways: give one of them another address or name", kind, name)
}

// parts renders every part of the plan. Resources remember of which they are, by
// the names that Kuma's documents have for them.
func (r *renderer) parts() {
	c := r.cfg
	r.origin = "inbound"
	for _, in := range c.Inbounds {
		r.inbound(in)
	}
	r.origin = "outbound"
	for _, out := range c.Outbounds {
		r.outbound(out)
	}
	for _, cl := range c.Clusters {
		// A collector in the mesh is a service like others.
		if r.origin = "outbound"; strings.HasPrefix(cl.Name, "tracing:") {
			r.origin = "tracing"
		}
		r.outboundCluster(cl)
	}
	r.origin = "transparent"
	if c.Transparent != nil {
		r.captures(*c.Transparent)
	}
	r.origin = "prometheus"
	if c.Metrics != nil {
		r.metrics(*c.Metrics)
	}
	r.origin = "probe"
	if c.Probes != nil {
		r.probes(*c.Probes)
	}
}

// A renderer collects the bundle of one proxy, and what is wrong with its plan.
type renderer struct {
	cfg   *proxy.Config
	b     *Bundle
	local map[workload]string // names of the clusters made for workloads
	// balancers are those of outbound clusters, by name, where one is named.
	balancers map[string]string
	outsiders map[string]bool // clusters outside of the mesh
	packed    map[string]*anypb.Any
	origin    string // of which part of the plan is rendered now
	errs      []error
}

func (r *renderer) fail(format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf(format, args...))
}

func (r *renderer) listener(name string, m proto.Message) {
	r.b.Listeners = append(r.b.Listeners, Resource{Name: name, Message: m, Origin: r.origin})
}

func (r *renderer) cluster(name string, m proto.Message) {
	r.b.Clusters = append(r.b.Clusters, Resource{Name: name, Message: m, Origin: r.origin})
}

func (r *renderer) route(name string, m proto.Message) {
	r.b.Routes = append(r.b.Routes, Resource{Name: name, Message: m, Origin: r.origin})
}

// any packs m. What cannot be packed (text that is not UTF-8) is a fault of
// the plan.
func (r *renderer) any(m proto.Message) *anypb.Any {
	a := new(anypb.Any)
	if err := anypb.MarshalFrom(a, m, proto.MarshalOptions{Deterministic: true}); err != nil {
		r.fail("%s: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	return a
}

// shared packs what many resources of one proxy have alike, once; key tells it
// from everything else.
func (r *renderer) shared(key string, m func() proto.Message) *anypb.Any {
	a, ok := r.packed[key]
	if !ok {
		a = r.any(m())
		r.packed[key] = a
	}
	return a
}

// sorted sorts rs by name. Two of one name must be equal, and become one.
func (r *renderer) sorted(kind string, rs []Resource) []Resource {
	slices.SortStableFunc(rs, func(a, b Resource) int { return cmp.Compare(a.Name, b.Name) })
	return slices.CompactFunc(rs, func(a, b Resource) bool {
		if a.Name != b.Name {
			return false
		}
		if !proto.Equal(a.Message, b.Message) {
			r.errs = append(r.errs, Twice(kind, a.Name))
		}
		return true
	})
}

// listenerName is "inbound:192.0.2.1:80", an IPv6 address in brackets.
func listenerName(direction string, at netip.AddrPort) string { return direction + ":" + at.String() }

// statName makes a name that does not part in Envoy's statistics, where dots
// and colons do.
func statName(name string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
			return c
		}
		return '_'
	}, name)
}
