package xds

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/envoy/render"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// PublishTrust tells the agents of a mesh whom it trusts and who signs in it;
// nil removes both.
func (s *Server) PublishTrust(mesh string, t *hostv1.Trust, i *hostv1.Issuer) error {
	m := s.mesh(mesh)
	if t == nil || i == nil {
		m.trust.update(nil, []string{TrustResource})
		m.issuer.update(nil, []string{IssuerResource})
		return nil
	}
	for _, r := range []struct {
		lane *lane
		name string
		body proto.Message
	}{{m.trust, TrustResource, t}, {m.issuer, IssuerResource, i}} {
		it, err := s.stock.encode(r.lane.typeURL, render.Resource{Name: r.name, Message: r.body})
		if err != nil {
			return fmt.Errorf("publish the %s of mesh %q: %w", r.name, mesh, err)
		}
		r.lane.update([]*item{it}, nil)
	}
	return nil
}

// Taken counts the proxies of a mesh that have an agent, and those of them whose
// agent has taken the newest trust or issuer, whichever type is asked for. It
// names some of those that have not.
func (s *Server) Taken(mesh, typeURL string) (agents, taken int, lacking []string) {
	m := s.mesh(mesh)
	lane := m.trust
	if typeURL == IssuerType {
		lane = m.issuer
	}
	agents, taken, behind := s.taken(lane, func(id proxy.ID) bool { return id.Mesh == mesh })
	for _, id := range behind {
		lacking = append(lacking, id.Name)
	}
	return agents, taken, lacking
}

// TakenControlPlane is Taken for what PublishControlPlane told, of all meshes.
func (s *Server) TakenControlPlane() (agents, taken int, lacking []string) {
	agents, taken, behind := s.taken(s.controlPlane, func(proxy.ID) bool { return true })
	for _, id := range behind {
		lacking = append(lacking, id.String())
	}
	return agents, taken, lacking
}

func (s *Server) taken(l *lane, of func(proxy.ID) bool) (agents, taken int, lacking []proxy.ID) {
	l.mu.Lock()
	newest := strconv.FormatUint(l.revision, 10)
	l.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, e := range s.proxies {
		if !of(id) || len(e.streams) == 0 {
			continue
		}
		st := e.streams[len(e.streams)-1]
		if st.agent == "" {
			continue // an Envoy of its own: its owner sees to its certificates
		}
		agents++
		if st.acks.has(l.typeURL, newest) {
			taken++
		} else {
			lacking = append(lacking, id)
		}
	}
	slices.SortFunc(lacking, func(a, b proxy.ID) int { return strings.Compare(a.String(), b.String()) })
	return agents, taken, lacking[:min(len(lacking), maxResources)]
}

// has tells whether a version was taken of a type.
func (t *tracker) has(typeURL, version string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	ts := t.types[typeURL]
	return ts != nil && ts.Acked == version && ts.Refused == nil
}

// PublishControlPlane tells all agents whom to take for the control plane.
func (s *Server) PublishControlPlane(c *hostv1.ControlPlane) error {
	it, err := s.stock.encode(ControlPlaneType, render.Resource{Name: ControlPlaneResource, Message: c})
	if err != nil {
		return fmt.Errorf("publish the control plane's authorities: %w", err)
	}
	s.controlPlane.update([]*item{it}, nil)
	return nil
}

// Lookers are the proxies whose agents can be told to look for another control
// plane, in no order.
func (s *Server) Lookers() (ids []proxy.ID) {
	s.looks.mu.Lock()
	defer s.looks.mu.Unlock()
	for name := range s.looks.names {
		if id, err := ParseNode(name); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// Look has agents look for another control plane, and nobody else: those that
// were told before are not any more. They look within spread for one that reaches
// its store, which this one has not since then; round is another one each time.
func (s *Server) Look(ids []proxy.ID, since time.Time, spread time.Duration, round int64) error {
	l := &hostv1.Look{Since: timestamppb.New(since), Spread: durationpb.New(spread), Round: round}
	var put []*item
	for _, id := range ids {
		it, err := s.stock.encode(LookType, render.Resource{Name: id.String(), Message: l})
		if err != nil {
			return fmt.Errorf("tell %s to look: %w", id, err)
		}
		put = append(put, it)
	}
	s.looks.replace(put)
	return nil
}
