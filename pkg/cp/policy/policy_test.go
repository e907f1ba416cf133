package policy

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/pkg/mesh"
)

var epoch = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// permission makes one, created so many seconds after the epoch.
func permission(name string, created int, destinations ...mesh.Tags) *mesh.Resource {
	spec := &mesh.TrafficPermission{}
	for _, d := range destinations {
		spec.Destinations = append(spec.Destinations, mesh.Selector{Match: d})
	}
	return &mesh.Resource{
		Kind: mesh.TrafficPermissionKind,
		Meta: mesh.Meta{Name: name, Created: epoch.Add(time.Duration(created) * time.Second)},
		Spec: spec,
	}
}

func TestPermissions(t *testing.T) {
	api := mesh.Tags{mesh.ServiceTag: "api", "version": "v1", "env": "prod"}
	svc := func(service string, more ...string) mesh.Tags {
		tags := mesh.Tags{mesh.ServiceTag: service}
		for i := 0; i < len(more); i += 2 {
			tags[more[i]] = more[i+1]
		}
		return tags
	}
	tests := []struct {
		name string
		from []*mesh.Resource
		want []string // best first
	}{
		{"none", nil, nil},
		{"none that matches", []*mesh.Resource{permission("a", 0, svc("db")), permission("b", 0, svc("api", "version", "v2")), permission("c", 0, svc("*", "zone", "*"))}, nil},
		{"more tags", []*mesh.Resource{permission("a", 9, svc("api")), permission("b", 0, svc("*", "version", "*"))}, []string{"b", "a"}},
		{"more exact of as many", []*mesh.Resource{
			permission("a", 9, svc("*", "version", "*")), permission("b", 0, svc("api", "version", "v1")), permission("c", 5, svc("*", "version", "v1")),
		}, []string{"b", "c", "a"}},
		{"later", []*mesh.Resource{permission("a", 1, svc("api")), permission("b", 2, svc("api"))}, []string{"b", "a"}},
		{"name", []*mesh.Resource{permission("b", 1, svc("api")), permission("a", 1, svc("api"))}, []string{"a", "b"}},
		{"the best of its selectors", []*mesh.Resource{
			permission("a", 0, svc("db"), svc("*"), svc("api", "version", "v1"), svc("api")), permission("b", 9, svc("api")),
		}, []string{"a", "b"}},
		{"other tags than the service", []*mesh.Resource{permission("a", 0, mesh.Tags{"env": "prod"}), permission("b", 0, mesh.Tags{"env": "test"})}, []string{"a"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for range 5 { // whatever their order
				rand.Shuffle(len(test.from), func(i, j int) { test.from[i], test.from[j] = test.from[j], test.from[i] })
				var got []string
				for _, m := range Permissions(test.from, api) {
					got = append(got, m.Policy.Meta.Name)
				}
				if d := cmp.Diff(test.want, got); d != "" {
					t.Fatalf("matches (-want +got):\n%s", d)
				}
			}
		})
	}
}

func TestMatchTellsItsOrigin(t *testing.T) {
	p := permission("p", 0, mesh.Tags{mesh.ServiceTag: "*"}, mesh.Tags{mesh.ServiceTag: "api"})
	m, ok := Permissions([]*mesh.Resource{p}, mesh.Tags{mesh.ServiceTag: "api"}).Winner()
	if !ok || m.Policy != p || m.Selector.Match.Service() != "api" || m.Rank != (mesh.Rank{Exact: 1}) {
		t.Errorf("winner %+v (%v), want p by its second selector", m, ok)
	}
	if m, ok := (Matches{}).Winner(); ok {
		t.Errorf("nothing has a winner: %v", m)
	}
}

func TestBeats(t *testing.T) {
	api, all := mesh.Tags{mesh.ServiceTag: "api"}, mesh.Tags{mesh.ServiceTag: "*"}
	tests := []struct {
		loser *mesh.Resource
		want  string
	}{
		{permission("x", 9, all), "which fits less closely"},
		{permission("x", 0, api), "which fits alike but is older"},
		{permission("x", 1, api), "which fits alike and is as old, but sorts later by name"},
	}
	for _, test := range tests {
		ms := Permissions([]*mesh.Resource{permission("a", 1, api), test.loser}, api)
		if got := ms[0].Beats(ms[1]); ms[0].Policy.Meta.Name != "a" || got != test.want {
			t.Errorf("%q wins over one %q, want %q", ms[0].Policy.Meta.Name, got, test.want)
		}
	}
}
