package admission

import (
	"context"
	"strings"
	"testing"
	"time"

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

// One more permission for the same workloads takes the effect from the one
// before: who writes it is told whom that shuts out.
func TestPermissionsThatShadowAreWarnedOf(t *testing.T) {
	to := func(services ...string) (all []mesh.Selector) {
		for _, s := range services {
			all = append(all, mesh.Selector{Match: mesh.Tags{"kuma.io/service": s}})
		}
		return all
	}
	permission := func(name string, age time.Duration, sources, destinations []mesh.Selector) *mesh.Resource {
		return &mesh.Resource{Kind: mesh.TrafficPermissionKind, Meta: mesh.Meta{Mesh: "default", Name: name, Created: time.Now().Add(-age)},
			Spec: &mesh.TrafficPermission{Sources: sources, Destinations: destinations}}
	}
	for name, tt := range map[string]struct {
		others                []*mesh.Resource
		sources, destinations []mesh.Selector
		want                  string // "": none
	}{
		"alone":                 {nil, to("web"), to("api"), ""},
		"for others":            {[]*mesh.Resource{permission("old", time.Hour, to("web"), to("db"))}, to("web"), to("api"), ""},
		"shuts callers out":     {[]*mesh.Resource{permission("old", time.Hour, to("web", "job"), to("db", "api"))}, to("batch", "job"), to("x", "api"), `destinations[1]: of permissions that fit {kuma.io/service=api} alike the newest decides alone, which is this one: "old" has no effect there any more, and {kuma.io/service=web} is shut out`},
		"lets them in, too":     {[]*mesh.Resource{permission("old", time.Hour, to("web"), to("api"))}, to("batch", "web"), to("api"), ""},
		"lets everybody in":     {[]*mesh.Resource{permission("old", time.Hour, to("web"), to("api"))}, to("*"), to("api"), ""},
		"of which a newer wins": {[]*mesh.Resource{permission("young", -time.Hour, to("web"), to("api"))}, to("batch"), to("api"), `which is "young": {kuma.io/service=batch} is let in only if its sources name it`},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.Carries = func(context.Context, string, mesh.Selector) (bool, error) { return true, nil }
			f.Permissions = func(string) []*mesh.Resource { return tt.others }
			r := *permission("p", 0, tt.sources, tt.destinations)
			if strings.Contains(name, "newer") { // it has to be there for another to be newer
				was := *permission("p", 0, to("none"), tt.destinations)
				if _, err := f.Put(t.Context(), was); err != nil {
					t.Fatal(err)
				}
			}
			done, err := f.Put(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(done.Warnings, "\n"); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("warned of %q, want %q", got, tt.want)
			}
			if again, err := f.Put(t.Context(), r); err != nil || len(again.Warnings) > 0 {
				t.Errorf("what changes nothing is warned of: %v, %v", again.Warnings, err)
			}
		})
	}
}
