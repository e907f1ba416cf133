package snapshot

import (
	"fmt"
	"testing"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

func TestProtocol(t *testing.T) {
	tests := []struct {
		speak []string
		want  string
	}{
		{[]string{"http"}, "http"},
		{[]string{"HTTP", "http"}, "http"},
		{[]string{"grpc", "grpc"}, "grpc"},
		{[]string{"grpc", "http2"}, "http2"},
		{[]string{"http2", "grpc", "http2"}, "http2"},
		{[]string{"http", "http2"}, "tcp"},
		{[]string{"grpc", "http"}, "tcp"},
		{[]string{"grpc", "http2", "http"}, "tcp"},
		{[]string{"kafka"}, "kafka"},
		{[]string{"tls", "kafka"}, "tcp"},
		{[]string{"tls"}, "tls"},
		{[]string{"http", ""}, "tcp"},
		{[]string{""}, "tcp"},
		{[]string{"gopher"}, "tcp"},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.speak), func(t *testing.T) {
			var w writer
			changes := []store.Change{w.mesh("default")}
			for i, p := range test.speak {
				in := inbound("api")
				in.Protocol = p
				in.State = mesh.StateNotReady // does not count less
				changes = append(changes, w.dataplane(fmt.Sprint("api-", i), "192.0.2.1", in))
			}
			s, ok := state(t, changes...).Mesh("default").Services().Get("api")
			if !ok || s.Protocol != test.want {
				t.Errorf("protocol %q (there: %v), want %q", s.Protocol, ok, test.want)
			}
		})
	}
}

// Two names that hash to one slot are looked for, not made up: what holds for
// them holds for real services.
func TestSlotsMeet(t *testing.T) {
	seen := map[uint32]string{}
	var first, second string
	for i := 0; second == ""; i++ {
		if i == 1<<20 {
			t.Fatal("no two names with one slot: the hash is not what it says")
		}
		name := fmt.Sprintf("s%07d", i)
		slot := slotOf("default", name, 0)
		if other := seen[slot]; other != "" {
			first, second = other, name
		}
		seen[slot] = name
	}
	slots := func(names ...string) map[string]uint32 {
		var w writer
		changes := []store.Change{w.mesh("default")}
		for _, n := range names {
			changes = append(changes, w.dataplane(n, "192.0.2.1", inbound(n)))
		}
		m := map[string]uint32{}
		for s := range state(t, changes...).Mesh("default").Services().All() {
			m[s.Name] = s.Slot
		}
		return m
	}
	alone, both, turned := slots(second), slots(first, second), slots(second, first)
	if both[first] == both[second] {
		t.Fatalf("%s and %s share slot %d", first, second, both[first])
	}
	if both[first] != turned[first] || both[second] != turned[second] {
		t.Errorf("slots depend on who came first: %v, %v", both, turned)
	}
	if both[first] != slotOf("default", first, 0) {
		t.Errorf("%s sorts first and was moved", first)
	}
	if alone[second] != slotOf("default", second, 0) {
		t.Errorf("%s was moved for nobody", second)
	}
	for name, slot := range both {
		if slot == 0 || slot >= MaxSlot {
			t.Errorf("%s has slot %d", name, slot)
		}
	}
}

func TestSlotsOfMeshesDiffer(t *testing.T) {
	if slotOf("one", "api", 0) == slotOf("two", "api", 0) {
		t.Error("a service has the same slot in two meshes")
	}
}
