package xds

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/pkg/envoy/render"
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
			clusters:  newLane(resource.ClusterType),
			listeners: newLane(resource.ListenerType),
			routes:    newLane(resource.RouteType),
			secrets:   newLane(resource.SecretType),
			mesh:      s.meshLocked(st.id.Mesh),
		}
		s.proxies[st.id] = e
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
	}
	s.mu.Unlock()
	if last {
		if err := e.free(); err != nil {
			s.log.Error("endpoints could not be released", "proxy", st.id, "error", err)
		}
	}
}

func (e *entry) free() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gone = true
	told := e.told
	e.told = nil
	return e.mesh.want(nil, told)
}

func (e *entry) publish(b *render.Bundle) error {
	clusters, err := encodeAll(b.Clusters)
	if err != nil {
		return fmt.Errorf("clusters: %w", err)
	}
	listeners, err := encodeAll(b.Listeners)
	if err != nil {
		return fmt.Errorf("listeners: %w", err)
	}
	routes, err := encodeAll(b.Routes)
	if err != nil {
		return fmt.Errorf("routes: %w", err)
	}

	secrets, err := encodeAll(b.Secrets)
	if err != nil {
		return errors.New("secrets cannot be encoded") // its words might hold one
	}

	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone {
		return nil
	}
	now := withEndpoints(b.Clusters)
	more, less := difference(now, e.told), difference(e.told, now)
	e.told = now
	return errors.Join(
		e.mesh.want(more, nil),
		e.secrets.update(secrets, nil),
		e.clusters.update(clusters, nil),
		e.listeners.replace(listeners),
		e.routes.replace(routes),
		e.clusters.replace(clusters),
		e.secrets.replace(secrets),
		e.mesh.want(nil, less),
	)
}

// withEndpoints names the clusters whose members come from the mesh's lane.
func withEndpoints(clusters []render.Resource) []string {
	names := map[string]bool{}
	for _, r := range clusters {
		if c, ok := r.Message.(*clusterv3.Cluster); ok && c.GetType() == clusterv3.Cluster_EDS {
			names[endpointsName(c)] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// endpointsName is the name under which a cluster asks for its endpoints.
func endpointsName(c *clusterv3.Cluster) string {
	if n := c.GetEdsClusterConfig().GetServiceName(); n != "" {
		return n
	}
	return c.GetName()
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
	newest := e.streams[len(e.streams)-1]
	out := newest.acks.status()
	out.Since, out.Delta, out.Streams = newest.since, newest.delta, len(e.streams)
	return out, true
}
