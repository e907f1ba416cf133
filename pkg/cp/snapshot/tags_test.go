package snapshot

import (
	"reflect"
	"testing"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// Equal tags of two dataplanes are one map, whether they come together or one
// after the other, and what was given is left as it is.
func TestEqualTagsAreOneMap(t *testing.T) {
	var w writer
	calls := func(name string) *mesh.Dataplane {
		c := w.dataplane(name, "192.0.2.1", inbound("web"))
		dp := c.Now.Spec.(*mesh.Dataplane)
		dp.Networking.Outbound = []mesh.Outbound{{Port: 1, Tags: mesh.Tags{mesh.ServiceTag: "api"}}}
		return dp
	}
	s := state(t, w.mesh("default"))
	for _, together := range [][]string{{"a", "b"}, {"c"}} {
		in := Input{}
		for _, name := range together {
			c := w.dataplane(name, "192.0.2.1")
			c.Now.Spec = calls(name)
			in.Changes = append(in.Changes, c)
		}
		given := in.Changes[0].Now.Spec.(*mesh.Dataplane)
		before := reflect.ValueOf(given.Networking.Outbound[0].Tags).Pointer()
		s = Next(s, in)
		if reflect.ValueOf(given.Networking.Outbound[0].Tags).Pointer() != before {
			t.Error("what was given was changed")
		}
	}
	maps := map[uintptr]bool{}
	for _, r := range s.Mesh("default").Dataplanes() {
		n := r.Spec.(*mesh.Dataplane).Networking
		maps[reflect.ValueOf(n.Inbound[0].Tags).Pointer()] = true
		maps[reflect.ValueOf(n.Outbound[0].Tags).Pointer()] = true
	}
	if len(maps) != 2 {
		t.Errorf("three dataplanes with two sets of tags hold %d", len(maps))
	}
}
