package snapshot

import (
	"fmt"
	"testing"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// BenchmarkNext changes one endpoint of 5,000, in 100 services and in one.
func BenchmarkNext(b *testing.B) {
	for _, services := range []int{100, 1} {
		b.Run(fmt.Sprintf("services=%d", services), func(b *testing.B) {
			var w writer
			changes := []store.Change{w.mesh("default")}
			for i := range 5000 {
				changes = append(changes, w.dataplane(fmt.Sprintf("dp-%04d", i), "192.0.2.1", inbound(fmt.Sprint("svc-", i%services))))
			}
			s := state(b, changes...)
			flip := []Input{
				{Changes: []store.Change{w.dataplane("dp-2500", "192.0.2.2", inbound("svc-0"))}},
				{Changes: []store.Change{w.dataplane("dp-2500", "192.0.2.1", inbound("svc-0"))}},
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				s = Next(s, flip[i%2])
			}
		})
	}
}

// BenchmarkMove looks for those whom one more endpoint concerns, and one more
// permission, among 5,000 readers of 100 services.
func BenchmarkMove(b *testing.B) {
	var w writer
	changes := []store.Change{w.mesh("default"), w.permission("p")}
	for i := range 5000 {
		changes = append(changes, w.dataplane(fmt.Sprintf("dp-%04d", i), "192.0.2.1", inbound(fmt.Sprint("svc-", i%100))))
	}
	s := state(b, changes...)
	for _, change := range []struct {
		name string
		is   store.Change
		want int
	}{
		{"endpoint", w.dataplane("more", "192.0.2.2", inbound("svc-0")), 0},
		{"permission", w.permission("svc-1"), 50},
	} {
		b.Run(change.name, func(b *testing.B) {
			var rs Readers[int]
			rs.Move(s.Mesh("default"))
			for i, r := range s.Mesh("default").Dataplanes() {
				v, service := NewView(s.Mesh("default")), r.Spec.(*mesh.Dataplane).TagSets()[0].Service()
				v.Spec()
				v.Dataplane(r.Meta.Name)
				v.Services()
				v.PoliciesThat(mesh.TrafficPermissionKind, like(service), func(p *mesh.Resource) bool { return p.Meta.Name == service })
				rs.Read(i, v)
			}
			flip := []*State{s, Next(s, Input{Changes: []store.Change{change.is}})}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if got := len(rs.Move(flip[(i+1)%2].Mesh("default"))); got != change.want {
					b.Fatalf("found %d, want %d", got, change.want)
				}
			}
		})
	}
}
