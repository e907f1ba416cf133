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
	trust, issuer    *lane
	stock            *stock

	mu sync.Mutex
	// wanted counts the proxies that were told of a cluster. Each of these
	// clusters has an assignment, or Envoy would wait for it.
	wanted map[string]int
	// filled are the assignments that are published; the others in the lane only
	// wanted keeps.
	filled map[string]bool
}

func newShared(st *stock) *shared {
	return &shared{
		stock:     st,
		endpoints: newLane(resource.EndpointType, true), names: newLane(NamesType, false),
		trust: newLane(TrustType, false), issuer: newLane(IssuerType, false),
		wanted: map[string]int{}, filled: map[string]bool{},
	}
}

// empty is an assignment without members.
func (m *shared) empty(cluster string) *item {
	it, err := m.stock.encode(resource.EndpointType, render.Resource{Name: cluster, Message: &endpointv3.ClusterLoadAssignment{ClusterName: cluster}})
	if err != nil { // a name that is no UTF-8; its cluster was refused for the same reason
		return newItem(resource.EndpointType, cluster, nil, [32]byte{})
	}
	return it
}

func (m *shared) publish(changed []render.Resource, gone, left []string) error {
	var errs []error
	put := make([]*item, 0, len(changed))
	for _, r := range changed {
		it, err := m.stock.encode(resource.EndpointType, r)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		put = append(put, it)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, it := range put {
		m.filled[it.name] = true
	}
	var deleted []string
	for _, name := range gone {
		delete(m.filled, name)
		if m.wanted[name] > 0 {
			put = append(put, m.empty(name))
		} else {
			deleted = append(deleted, name)
		}
	}
	for _, name := range left {
		delete(m.filled, name)
		if m.wanted[name] == 0 {
			deleted = append(deleted, name)
		}
	}
	m.endpoints.update(put, deleted)
	return errors.Join(errs...)
}

// want notes that one more proxy is told of the clusters in more, and one
// fewer of those in less.
func (m *shared) want(more, less []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var put []*item
	for _, name := range more {
		m.wanted[name]++
		if !m.endpoints.has(name) {
			put = append(put, m.empty(name))
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
	m.endpoints.update(put, deleted)
}
