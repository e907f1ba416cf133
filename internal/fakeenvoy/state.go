package fakeenvoy

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
)

// State is what a client has.
type State struct {
	// Resources are what was taken, by type and name.
	Resources map[string]map[string]proto.Message
	// Warming are the clusters that wait for endpoints.
	Warming map[string]bool
	// Responses are all that came, in order.
	Responses []Response

	versions map[string]map[string]string // by type and name
}

// A Response is one that came.
type Response struct {
	Type    string
	Names   []string
	Removed []string
	Refused string // "" where it was taken
}

func newState() State {
	return State{
		Resources: map[string]map[string]proto.Message{}, Warming: map[string]bool{},
		versions: map[string]map[string]string{},
	}
}

func (s State) clone() State {
	out := State{
		Resources: map[string]map[string]proto.Message{}, Warming: maps.Clone(s.Warming),
		Responses: slices.Clone(s.Responses), versions: map[string]map[string]string{},
	}
	for t, m := range s.Resources {
		out.Resources[t] = maps.Clone(m)
	}
	for t, m := range s.versions {
		out.versions[t] = maps.Clone(m)
	}
	return out
}

// Names lists what was taken of a type, sorted.
func (s State) Names(typeURL string) []string {
	return slices.Sorted(maps.Keys(s.Resources[typeURL]))
}

// Count tells how many responses of a type came.
func (s State) Count(typeURL string) (n int) {
	for _, r := range s.Responses {
		if r.Type == typeURL {
			n++
		}
	}
	return n
}

// Has tells whether a resource was taken.
func (s State) Has(typeURL, name string) bool { return s.Resources[typeURL][name] != nil }

// Endpoints lists the addresses of a cluster as text, in order; the second
// result is false where no assignment came.
func (s State) Endpoints(cluster string) ([]string, bool) {
	a, ok := s.Resources[Endpoints][cluster].(*endpointv3.ClusterLoadAssignment)
	if !ok {
		return nil, false
	}
	var out []string
	for _, l := range a.GetEndpoints() {
		for _, e := range l.GetLbEndpoints() {
			sa := e.GetEndpoint().GetAddress().GetSocketAddress()
			out = append(out, net.JoinHostPort(sa.GetAddress(), strconv.Itoa(int(sa.GetPortValue()))))
		}
	}
	return out, true
}

// String prints the state, a line a resource, sorted within types.
func (s State) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s.Resources[Clusters])) {
		fmt.Fprintf(&b, "cluster %s", name)
		if s.Warming[name] {
			b.WriteString(" warming")
		}
		b.WriteByte('\n')
	}
	for _, name := range slices.Sorted(maps.Keys(s.Resources[Endpoints])) {
		at, _ := s.Endpoints(name)
		fmt.Fprintf(&b, "endpoints %s [%s]\n", name, strings.Join(at, " "))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Resources[Listeners])) {
		fmt.Fprintf(&b, "listener %s\n", name)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Resources[Routes])) {
		fmt.Fprintf(&b, "route %s\n", name)
	}
	for _, m := range s.Resources[Names] {
		for _, n := range m.(*hostv1.NameTable).GetNames() {
			fmt.Fprintf(&b, "name %s", n.GetName())
			for _, raw := range n.GetAddresses() {
				a, _ := netip.AddrFromSlice(raw)
				fmt.Fprintf(&b, " %s", a)
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// put takes a resource, or returns why it cannot be.
func (s *State) put(typeURL string, it item) string {
	m, err := it.body.UnmarshalNew()
	if err != nil {
		return err.Error()
	}
	old := s.Resources[typeURL][it.name]
	if s.Resources[typeURL] == nil {
		s.Resources[typeURL], s.versions[typeURL] = map[string]proto.Message{}, map[string]string{}
	}
	s.Resources[typeURL][it.name], s.versions[typeURL][it.name] = m, it.version
	switch m := m.(type) {
	case *clusterv3.Cluster:
		if m.GetType() == clusterv3.Cluster_EDS && (old == nil || !proto.Equal(old, m)) {
			s.Warming[it.name] = true
		}
	case *endpointv3.ClusterLoadAssignment:
		delete(s.Warming, it.name)
	}
	return ""
}

func (s *State) remove(typeURL, name string) {
	delete(s.Resources[typeURL], name)
	delete(s.versions[typeURL], name)
	if typeURL == Clusters {
		delete(s.Warming, name)
	}
}

// missing lists what the client has and a whole list has not.
func (s *State) missing(typeURL string, names []string) (out []string) {
	for name := range s.Resources[typeURL] {
		if !slices.Contains(names, name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// following lists the clusters that have their endpoints elsewhere.
func (s *State) following() (names []string) {
	for name, m := range s.Resources[Clusters] {
		if c, ok := m.(*clusterv3.Cluster); ok && c.GetType() == clusterv3.Cluster_EDS {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (s *State) routesNamed() (names []string) {
	for _, m := range s.Resources[Listeners] {
		if l, ok := m.(*listenerv3.Listener); ok {
			names = append(names, routesOf(l)...)
		}
	}
	slices.Sort(names)
	return names
}

func sorted(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }
