package admission

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/pkg/mesh"
)

func TestSelectorsThatMatchNothingAreWarnedOf(t *testing.T) {
	f := newFixture(t)
	if _, err := f.Put(t.Context(), mesh.Resource{Kind: mesh.DataplaneKind, Meta: mesh.Meta{Mesh: "default", Name: "api-1"}, Spec: &mesh.Dataplane{
		Networking: mesh.DataplaneNetworking{Address: "192.0.2.1", Inbound: []mesh.Inbound{{Port: 80, ServicePort: 8080, Tags: mesh.Tags{"kuma.io/service": "api", "version": "v1"}}}},
	}}); err != nil {
		t.Fatal(err)
	}
	to := func(tags mesh.Tags) []mesh.Selector { return []mesh.Selector{{Match: tags}} }
	tests := []struct {
		name                  string
		sources, destinations []mesh.Selector
		want                  []string // a part of each warning
	}{
		{"both are there", to(mesh.Tags{"kuma.io/service": "*"}), to(mesh.Tags{"kuma.io/service": "api", "version": "v1"}), nil},
		{"a typing error", to(mesh.Tags{"kuma.io/service": "*"}), to(mesh.Tags{"kuma.io/service": "apii"}), []string{`destinations[0]: no dataplane of mesh "default" has {kuma.io/service=apii} yet`}},
		{"not yet", to(mesh.Tags{"kuma.io/service": "web"}), to(mesh.Tags{"version": "v2"}), []string{"sources[0]", "destinations[0]"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			done, err := f.Put(t.Context(), mesh.Resource{Kind: mesh.TrafficPermissionKind, Meta: mesh.Meta{Mesh: "default", Name: "p"},
				Spec: &mesh.TrafficPermission{Sources: tt.sources, Destinations: tt.destinations}})
			if err != nil {
				t.Fatal(err)
			}
			if len(done.Warnings) != len(tt.want) {
				t.Fatalf("warnings %q, want %d", done.Warnings, len(tt.want))
			}
			for i, w := range tt.want {
				if !strings.Contains(done.Warnings[i], w) {
					t.Errorf("warning %q, want one with %q", done.Warnings[i], w)
				}
			}
		})
	}
}

// What was seen settles it, what was not is looked up.
func TestSelectorsAreHeldAgainstWhatWasSeenFirst(t *testing.T) {
	f := newFixture(t)
	host := func(service string) mesh.Spec {
		return &mesh.Dataplane{Networking: mesh.DataplaneNetworking{Address: "192.0.2.1", Inbound: []mesh.Inbound{{Port: 80, ServicePort: 8080, Tags: mesh.Tags{"kuma.io/service": service}}}}}
	}
	if _, err := f.Put(t.Context(), mesh.Resource{Kind: mesh.DataplaneKind, Meta: mesh.Meta{Mesh: "default", Name: "new"}, Spec: host("new")}); err != nil {
		t.Fatal(err)
	}
	f.Seen = func(name string) []*mesh.Resource {
		if name != "default" {
			t.Errorf("asked for mesh %q", name)
		}
		return []*mesh.Resource{{Spec: host("old")}}
	}
	var all []mesh.Selector
	for _, s := range []string{"old", "new", "none"} {
		all = append(all, mesh.Selector{Match: mesh.Tags{"kuma.io/service": s}})
	}
	done, err := f.Put(t.Context(), mesh.Resource{Kind: mesh.TrafficPermissionKind, Meta: mesh.Meta{Mesh: "default", Name: "p"},
		Spec: &mesh.TrafficPermission{Sources: all, Destinations: all[:1]}})
	if err != nil {
		t.Fatal(err)
	}
	if len(done.Warnings) != 1 || !strings.HasPrefix(done.Warnings[0], "sources[2]: ") {
		t.Errorf("warnings %q, want one of sources[2]", done.Warnings)
	}
}
