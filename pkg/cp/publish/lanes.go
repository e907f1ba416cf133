package publish

import (
	"maps"
	"slices"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/cp/plan"
	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/envoy/render"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// A service is one of a mesh.
type service struct{ mesh, name string }

// publishEndpoints publishes where services are that moved between two states.
func (p *Publisher) publishEndpoints(prev, next *snapshot.State) {
	for _, name := range union(prev.Meshes(), next.Meshes()) {
		m := next.Mesh(name)
		var changed []render.Resource
		var gone, left []string
		for _, of := range snapshot.Changed(prev.Mesh(name), m) {
			id := service{name, of}
			now := map[string]bool{}
			for _, e := range endpoints(m, of) {
				now[e.Cluster] = true
				changed = append(changed, render.Resource{Name: e.Cluster, Message: render.Endpoints(e)})
			}
			for cluster := range p.clusters[id] {
				switch {
				case now[cluster]:
				case len(now) == 0:
					gone = append(gone, cluster)
				default: // nobody asks for this part of the service any more
					left = append(left, cluster)
				}
			}
			p.clusters[id] = now
			if len(now) == 0 {
				delete(p.clusters, id)
			}
		}
		if len(changed) == 0 && len(gone) == 0 {
			continue // and nothing is left: a service that is there has changed
		}
		slices.Sort(gone)
		slices.Sort(left)
		if err := p.stream.PublishEndpoints(name, changed, gone, left); err != nil {
			p.log.Error("endpoints were not published", "mesh", name, "error", err)
		}
	}
}

// endpoints are all clusters of a service; none where the service is gone.
func endpoints(m *snapshot.Mesh, name string) []proxy.Endpoints {
	if m == nil || m.Instances(name) == nil {
		return nil
	}
	return plan.Endpoints(m, name)
}

// namesOf is what a mesh's names are made of.
type namesOf struct {
	services  *snapshot.ServiceSet
	directory *snapshot.Directory
}

// publishNames publishes the names of the meshes of which they changed.
func (p *Publisher) publishNames(s *snapshot.State) {
	for _, name := range union(slices.Sorted(maps.Keys(p.names)), s.Meshes()) {
		m := s.Mesh(name)
		var err error
		switch {
		case m == nil:
			delete(p.names, name)
			err = p.stream.PublishNames(name, nil)
		case p.names[name] != (namesOf{m.Services(), m.Directory()}):
			p.names[name] = namesOf{m.Services(), m.Directory()}
			err = p.stream.PublishNames(name, table(plan.Names(m)))
		}
		if err != nil {
			p.log.Error("names were not published", "mesh", name, "error", err)
		}
	}
}

func table(names []proxy.Name) *hostv1.NameTable {
	t := &hostv1.NameTable{Names: make([]*hostv1.Name, 0, len(names))}
	for _, n := range names {
		row := &hostv1.Name{Name: n.Name}
		for _, a := range n.Addresses {
			row.Addresses = append(row.Addresses, a.AsSlice())
		}
		for _, port := range n.Ports {
			row.Ports = append(row.Ports, uint32(port))
		}
		t.Names = append(t.Names, row)
	}
	return t
}

// union is a and b without repetition, sorted.
func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
