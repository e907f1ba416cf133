package admission

import (
	"context"
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
			done, err := f.Put(t.Context(), mesh.Resource{Kind: mesh.TrafficPermissionKind, Meta: mesh.Meta{Mesh: "default", Name: strings.ReplaceAll(tt.name, " ", "-")},
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

// Where the newest state is at hand it settles what the store is asked else.
func TestSelectorsAreHeldAgainstTheNewestState(t *testing.T) {
	f := newFixture(t)
	f.Carries = func(_ context.Context, name string, s mesh.Selector) (bool, error) {
		if name != "default" {
			t.Errorf("asked for mesh %q", name)
		}
		return s.Match.Service() == "seen", nil
	}
	selectors := []mesh.Selector{{Match: mesh.Tags{"kuma.io/service": "seen"}}, {Match: mesh.Tags{"kuma.io/service": "none"}}}
	done, err := f.Put(t.Context(), mesh.Resource{Kind: mesh.TrafficPermissionKind, Meta: mesh.Meta{Mesh: "default", Name: "p"},
		Spec: &mesh.TrafficPermission{Sources: selectors, Destinations: selectors[:1]}})
	if err != nil {
		t.Fatal(err)
	}
	if len(done.Warnings) != 1 || !strings.HasPrefix(done.Warnings[0], "sources[1]: ") {
		t.Errorf("warnings %q, want one of sources[1]", done.Warnings)
	}
}
