package xds

import (
	"slices"
	"sync"

	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// An entry is one connected proxy: it lives as long as the proxy has a stream.
type entry struct {
	clusters, listeners, routes, secrets *lane

	mesh    *shared
	streams []*stream // oldest first; under Server.mu

	mu   sync.Mutex // one publish at a time
	told []string   // clusters whose endpoints come from mesh
	gone bool       // the last stream ended; nothing more is published
}

// join adds a stream to its proxy.
func (s *Server) join(st *stream) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil {
		return s.closed
	}
	e := s.proxies[st.id]
	if e == nil {
		e = &entry{
			clusters:  newLane(resource.ClusterType, false),
			listeners: newLane(resource.ListenerType, false),
			routes:    newLane(resource.RouteType, false),
			secrets:   newLane(resource.SecretType, false),
			mesh:      s.meshLocked(st.id.Mesh),
		}
		s.proxies[st.id] = e
		s.moved++
	}
	if len(e.streams) >= maxStreams {
		return status.Errorf(codes.ResourceExhausted, "proxy %s has %d streams already; close one, or let %s pass so that dead ones are noticed",
			st.id, maxStreams, keepaliveTime+keepaliveReply)
	}
	e.streams = append(e.streams, st)
	st.entry = e
	return nil
}

// leave takes a stream from its proxy, and with the last one what the proxy
// was given: it is made anew when the proxy comes back.
func (s *Server) leave(st *stream) {
	s.mu.Lock()
	e := st.entry
	e.streams = slices.DeleteFunc(e.streams, func(o *stream) bool { return o == st })
	last := len(e.streams) == 0
	if last {
		delete(s.proxies, st.id)
		s.moved++
	}
	s.mu.Unlock()
	if last {
		e.free()
	}
}

// free gives back what the proxy wanted of its mesh.
func (e *entry) free() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gone = true
	told := e.told
	e.told = nil
	e.mesh.want(nil, told)
}

// publish replaces what the proxy is given.
func (e *entry) publish(b *Bundle) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone {
		return
	}
	more, less := difference(b.assignments, e.told), difference(e.told, b.assignments)
	e.told = b.assignments
	e.mesh.want(more, nil)
	e.secrets.update(b.secrets, nil)
	e.clusters.update(b.clusters, nil)
	e.listeners.replace(b.listeners)
	e.routes.replace(b.routes)
	e.clusters.replace(b.clusters)
	e.secrets.replace(b.secrets)
	e.mesh.want(nil, less)
}

// difference is what a has and b has not; both are sorted.
func difference(a, b []string) []string {
	var out []string
	for _, name := range a {
		if _, found := slices.BinarySearch(b, name); !found {
			out = append(out, name)
		}
	}
	return out
}

// Status tells how a proxy's streams are; false where it has none.
func (s *Server) Status(id proxy.ID) (Status, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.proxies[id]
	if e == nil || len(e.streams) == 0 {
		return Status{}, false
	}
	out := e.streams[len(e.streams)-1].status()
	out.Streams = len(e.streams)
	return out, true
}

// status is that of this stream, whatever others there are.
func (st *stream) status() Status {
	out := st.acks.status()
	out.Since, out.Delta, out.Streams = st.since, st.delta, 1
	out.Agent, out.Envoy = st.agent, st.envoy
	return out
}
