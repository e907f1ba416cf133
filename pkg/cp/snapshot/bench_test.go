package snapshot

import (
	"fmt"
	"testing"

	"github.com/weft-mesh/weft/pkg/cp/store"
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

// BenchmarkFresh asks 5,000 views after a change that none of them has met.
func BenchmarkFresh(b *testing.B) {
	var w writer
	changes := []store.Change{w.mesh("default"), w.permission("p")}
	for i := range 5000 {
		changes = append(changes, w.dataplane(fmt.Sprintf("dp-%04d", i), "192.0.2.1", inbound(fmt.Sprint("svc-", i%100))))
	}
	s := state(b, changes...)
	var views []*View
	for _, r := range s.Mesh("default").Dataplanes() {
		v := NewView(s.Mesh("default"))
		v.Spec()
		v.Dataplane(r.Meta.Name)
		v.Services()
		v.Policies(nil)
		views = append(views, v)
	}
	flip := []*State{s, Next(s, Input{Changes: []store.Change{w.dataplane("more", "192.0.2.2", inbound("svc-0"))}})}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		step := Between(flip[i%2].Mesh("default"), flip[(i+1)%2].Mesh("default"))
		for _, v := range views {
			if !v.After(step) {
				b.Fatal("an endpoint outdated a view")
			}
		}
	}
}
