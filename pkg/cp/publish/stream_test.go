package publish

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/cp/xds"
	"github.com/weft-mesh/weft/pkg/envoy/render"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// recorder is a Stream that writes down what it is told.
type recorder struct {
	mu        sync.Mutex
	connected []proxy.ID
	moved     uint64
	lines     []string
	judged    []string // meshes
}

func (r *recorder) note(format string, args ...any) {
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *recorder) ConnectedSince(moved uint64) ([]proxy.ID, uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if moved == r.moved {
		return nil, moved
	}
	return slices.Clone(r.connected), r.moved
}

func (r *recorder) Encode(parts []render.Part, _ []render.Resource) (*xds.Bundle, error) {
	b, err := parts[0].Render()
	if err != nil {
		return nil, err
	}
	return &xds.Bundle{Version: b.Listeners[0].Name}, nil
}

func (r *recorder) Publish(id proxy.ID, b *xds.Bundle) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note("proxy %s %s", id.Name, b.Version)
}

func (r *recorder) PublishEndpoints(_ string, changed []render.Resource, gone, left []string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range changed {
		r.note("endpoints %s", c.Name)
	}
	for _, name := range gone {
		r.note("gone %s", name)
	}
	for _, name := range left {
		r.note("left %s", name)
	}
	return nil
}

func (r *recorder) PublishNames(_ string, t *hostv1.NameTable) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for _, n := range t.GetNames() {
		names = append(names, n.GetName())
	}
	r.note("names [%s]", strings.Join(names, " "))
	return nil
}

func (r *recorder) Judge(mesh string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.judged = append(r.judged, mesh)
}

func (r *recorder) Drop(id proxy.ID, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.moved++
	r.connected = slices.DeleteFunc(r.connected, func(o proxy.ID) bool { return o == id })
	r.note("drop %s", id.Name)
}

func (r *recorder) Status(proxy.ID) (xds.Status, bool) { return xds.Status{}, false }

// take returns what was noted since the last call. Several proxies are
// published side by side, in any order.
func (r *recorder) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := strings.Join(r.lines, "; ")
	r.lines = nil
	return s
}

func (r *recorder) connect(names ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range names {
		r.moved++
		r.connected = append(r.connected, proxy.ID{Mesh: "default", Name: n})
	}
}
