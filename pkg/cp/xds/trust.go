package xds

import (
	"fmt"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/envoy/render"
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
	lane.mu.Lock()
	newest := strconv.FormatUint(lane.revision, 10)
	lane.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, e := range s.proxies {
		if id.Mesh != mesh || len(e.streams) == 0 {
			continue
		}
		st := e.streams[len(e.streams)-1]
		if st.agent == "" {
			continue // an Envoy of its own: its owner sees to its certificates
		}
		agents++
		if st.acks.has(typeURL, newest) {
			taken++
		} else {
			lacking = append(lacking, id.Name)
		}
	}
	slices.Sort(lacking)
	return agents, taken, lacking[:min(len(lacking), maxResources)]
}

// has tells whether a version was taken of a type.
func (t *tracker) has(typeURL, version string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	ts := t.types[typeURL]
	return ts != nil && ts.Acked == version && ts.Refused == nil
}
