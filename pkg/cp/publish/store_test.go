package publish

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// memory is a Store that can lose its readers.
type memory struct {
	mu        sync.Mutex
	version   mesh.Version
	resources map[mesh.Key]mesh.Resource
	watches   []*watch
	compacted int   // so many watches fail with ErrCompacted
	failing   error // of List
	lists     int
	hold      bool // changes are not sent
	held      []store.Change
}

type watch struct {
	ctx context.Context
	ch  chan store.Change
}

func newMemory() *memory { return &memory{resources: map[mesh.Key]mesh.Resource{}} }

func (s *memory) Get(_ context.Context, k mesh.Key) (mesh.Resource, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.resources[k]
	if !ok {
		return mesh.Resource{}, fmt.Errorf("get %s: %w", k, store.ErrNotFound)
	}
	return r, nil
}

func (s *memory) List(context.Context, store.Query) (store.Page, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists++
	if s.failing != nil {
		return store.Page{}, s.failing
	}
	p := store.Page{At: s.version, Total: len(s.resources)}
	for _, r := range s.resources {
		p.Items = append(p.Items, r)
	}
	slices.SortFunc(p.Items, func(a, b mesh.Resource) int {
		return cmp.Or(cmp.Compare(a.Meta.Mesh, b.Meta.Mesh), cmp.Compare(a.Meta.Name, b.Meta.Name))
	})
	return p, nil
}

func (s *memory) Watch(ctx context.Context, _ mesh.Version) (<-chan store.Change, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.compacted > 0 {
		s.compacted--
		return nil, store.ErrCompacted
	}
	w := &watch{ctx, make(chan store.Change, 10_000)}
	s.watches = append(s.watches, w)
	return w.ch, nil
}

func (s *memory) put(kind *mesh.Kind, meshName, name string, spec mesh.Spec) mesh.Version {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	r := mesh.Resource{Kind: kind, Meta: mesh.Meta{Mesh: meshName, Name: name, Version: s.version}, Spec: spec}
	s.resources[r.Key()] = r
	s.send(store.Change{Key: r.Key(), Version: s.version, Now: &r})
	return s.version
}

func (s *memory) delete(kind *mesh.Kind, meshName, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	k := mesh.Key{Kind: kind.Name, Mesh: meshName, Name: name}
	delete(s.resources, k)
	s.send(store.Change{Key: k, Version: s.version})
}

func (s *memory) send(c store.Change) {
	if s.hold {
		s.held = append(s.held, c)
		return
	}
	for _, w := range s.watches {
		if w.ctx.Err() == nil {
			w.ch <- c
		}
	}
}

// pause keeps changes back; resume sends them.
func (s *memory) pause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold = true
}

func (s *memory) resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold = false
	for _, c := range s.held {
		s.send(c)
	}
	s.held = nil
}

// lose closes every watch, and drops what was held back.
func (s *memory) lose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.watches {
		close(w.ch)
	}
	s.watches, s.held, s.hold = nil, nil, false
}

func (s *memory) listed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lists
}

// dataplane is a workload of one service; it calls others when their names
// are given as outbounds.
func dataplane(address, service string, outbounds ...string) *mesh.Dataplane {
	d := &mesh.Dataplane{Networking: mesh.DataplaneNetworking{
		Address: address,
		Inbound: []mesh.Inbound{{Port: 8080, ServicePort: 18080, Tags: mesh.Tags{mesh.ServiceTag: service, mesh.ProtocolTag: "http"}}},
	}}
	for i, o := range outbounds {
		d.Networking.Outbound = append(d.Networking.Outbound, mesh.Outbound{Port: uint32(20_000 + i), Tags: mesh.Tags{mesh.ServiceTag: o}})
	}
	return d
}

func (s *memory) putMesh(name string) { s.put(mesh.MeshKind, "", name, &mesh.MeshSpec{}) }

func (s *memory) putDataplane(t *testing.T, name string, d *mesh.Dataplane) mesh.Version {
	t.Helper()
	return s.put(mesh.DataplaneKind, "default", name, d)
}
