package snapshot

import (
	"testing"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

func TestFresh(t *testing.T) {
	var w writer
	s := Next(Empty(), Input{
		Changes: []store.Change{
			w.mesh("default"), w.mesh("other"), w.permission("p"),
			w.dataplane("a", "a.example", inbound("web")),
			w.dataplane("b", "192.0.2.2", inbound("api")),
		},
		Hosts: hosts("a.example=192.0.2.1"),
	})
	reads := map[string]func(v *View){
		"nothing":     func(*View) {},
		"spec":        func(v *View) { v.Spec() },
		"dataplane a": func(v *View) { v.Dataplane("a") },
		"dataplane z": func(v *View) { v.Dataplane("z") },
		"permissions": func(v *View) { v.Policies(mesh.TrafficPermissionKind) },
		"services":    func(v *View) { v.Services() },
		"service web": func(v *View) { v.Service("web") },
		"service new": func(v *View) { v.Service("new") },
		"host":        func(v *View) { v.Host("a.example") },
		"an IP":       func(v *View) { v.Host("192.0.2.1") },
		"directory":   func(v *View) { v.Directory() },
		"secret s":    func(v *View) { v.Secret("s") },
		"file":        func(v *View) { v.File("/ca.pem") },
	}
	steps := []struct {
		name  string
		in    Input
		stale []string
	}{
		{"nothing", Input{}, nil},
		{"another mesh", Input{Changes: []store.Change{w.mesh("other")}}, nil},
		{"the mesh", Input{Changes: []store.Change{w.mesh("default")}}, []string{"spec"}},
		{"a permission", Input{Changes: []store.Change{w.permission("q")}}, []string{"permissions"}},
		{"an endpoint", Input{Changes: []store.Change{w.dataplane("c", "192.0.2.3", inbound("web"))}}, nil},
		{"a service", Input{Changes: []store.Change{w.dataplane("z", "192.0.2.4", inbound("new"))}}, []string{"dataplane z", "services", "service new"}},
		{"a protocol", Input{Changes: []store.Change{w.dataplane("a", "a.example", inbound("web2"))}}, []string{"dataplane a", "services"}},
		{"a secret", Input{Changes: []store.Change{w.put(mesh.SecretKind, "default", "s", &mesh.Secret{})}}, []string{"secret s"}},
		{"the control plane's own secret", Input{Changes: []store.Change{w.put(mesh.SecretKind, "default", "default.ca-builtin-key-ca-1", &mesh.Secret{})}}, nil},
		{"a file", Input{Files: map[string]string{"/ca.pem": "1"}}, []string{"file"}},
		{"another file", Input{Files: map[string]string{"/ca.pem": "1", "/key.pem": "1"}}, nil},
		{"what is outside", Input{Changes: []store.Change{w.external("default", "pay", "pay", "pay.example:443")}}, []string{"services", "directory"}},
		{"outside, without a name", Input{Changes: []store.Change{w.external("default", "pay2", "pay", "192.0.2.9:443")}}, []string{"services"}},
		{"a name", Input{Changes: []store.Change{w.virtual("default", "v", "{{.v}}.{{.s}}.mesh", "80")}}, []string{"directory"}},
		{"an endpoint that has a name of its own", Input{Changes: []store.Change{w.dataplane("d", "192.0.2.3", inbound("web", "version=v1"))}}, []string{"directory"}},
		{"one more of that name", Input{Changes: []store.Change{w.dataplane("e", "192.0.2.3", inbound("web", "version=v1"))}}, nil},
		{"a host", Input{Hosts: hosts("a.example=192.0.2.9")}, []string{"host"}},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			next := Next(s, step.in)
			stale := map[string]bool{}
			for _, r := range step.stale {
				stale[r] = true
			}
			for what, read := range reads {
				v := NewView(s.Mesh("default"))
				read(v)
				if got := v.Fresh(next.Mesh("default")); got == stale[what] {
					t.Errorf("a view that read %s: fresh %v", what, got)
				}
			}
			s = next
		})
	}
}

func TestFreshOfAnotherMesh(t *testing.T) {
	var w writer
	s := state(t, w.mesh("default"), w.mesh("other"))
	v := NewView(s.Mesh("default"))
	if v.Fresh(nil) {
		t.Error("the view of a mesh that is gone is fresh")
	}
	if v.Fresh(s.Mesh("other")) {
		t.Error("the view of one mesh is fresh for another")
	}
}

// A view must not keep every moment in memory at which its proxy was planned.
func TestFreshMovesTheView(t *testing.T) {
	var w writer
	s := state(t, w.mesh("default"), w.dataplane("a", "192.0.2.1", inbound("web")))
	v := NewView(s.Mesh("default"))
	v.Services()
	next := Next(s, Input{Changes: []store.Change{w.dataplane("b", "192.0.2.2", inbound("web"))}})
	if !v.Fresh(next.Mesh("default")) {
		t.Fatal("one more endpoint outdated the view")
	}
	if v.Dataplane("b") == nil {
		t.Error("the view still stands on the older moment")
	}
}
