package xds

import (
	"errors"
	"sync"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"

	"github.com/weft-mesh/weft/pkg/envoy/render"
)

// shared is what all proxies of a mesh have in common.
type shared struct {
	endpoints, names *lane

	mu sync.Mutex
	// wanted counts the proxies that were told of a cluster. Each of these
	// clusters has an assignment, or Envoy would wait for it.
	wanted map[string]int
	// filled are the assignments that were published; the others in the lane
	// are empty ones that only wanted keeps.
	filled map[string]bool
}

func newShared() *shared {
	return &shared{
		endpoints: newLane(resource.EndpointType), names: newLane(NamesType),
		wanted: map[string]int{}, filled: map[string]bool{},
	}
}

// empty is an assignment without members.
func empty(cluster string) encoded {
	e, err := encode(render.Resource{Name: cluster, Message: &endpointv3.ClusterLoadAssignment{ClusterName: cluster}})
	if err != nil { // a name that is no UTF-8; its cluster was refused for the same reason
		return encoded{name: cluster}
	}
	return e
}

func (m *shared) publish(changed []render.Resource, gone []string) error {
	var errs []error
	put := make([]encoded, 0, len(changed))
	for _, r := range changed {
		e, err := encode(r)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		put = append(put, e)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range put {
		m.filled[e.name] = true
	}
	var deleted []string
	for _, name := range gone {
		delete(m.filled, name)
		if m.wanted[name] > 0 {
			put = append(put, empty(name))
		} else {
			deleted = append(deleted, name)
		}
	}
	return errors.Join(append(errs, m.endpoints.update(put, deleted))...)
}

// want notes that one more proxy is told of the clusters in more, and one
// fewer of those in less.
func (m *shared) want(more, less []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var put []encoded
	for _, name := range more {
		m.wanted[name]++
		if !m.endpoints.has(name) {
			put = append(put, empty(name))
		}
	}
	var deleted []string
	for _, name := range less {
		m.wanted[name]--
		if m.wanted[name] > 0 {
			continue
		}
		delete(m.wanted, name)
		if !m.filled[name] {
			deleted = append(deleted, name)
		}
	}
	return m.endpoints.update(put, deleted)
}
