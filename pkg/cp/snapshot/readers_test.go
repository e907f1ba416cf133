package snapshot

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

func like(text string) func() Likeness { return func() Likeness { return Likeness(text) } }

// Those whom a Move finds are those whose view is not fresh, whatever was read,
// at whichever moment.
func TestReadersAreFoundByWhatTheyRead(t *testing.T) {
	questions := []func(v *View){
		func(v *View) { v.Spec() },
		func(v *View) { v.Dataplane("dp-0") },
		func(v *View) { v.Dataplane("dp-1") },
		func(v *View) { v.Policies(mesh.TrafficPermissionKind) },
		func(v *View) { v.Any(mesh.TimeoutKind) },
		func(v *View) { v.Services() },
		func(v *View) { v.Service("web") },
		func(v *View) { v.Host("a.example") },
		func(v *View) { v.Directory() },
		func(v *View) { v.Secret("s") },
		func(v *View) { v.File("/ca.pem") },
	}
	for i := range 3 {
		name := fmt.Sprint("p-", i)
		questions = append(questions, func(v *View) {
			v.PoliciesThat(mesh.TrafficPermissionKind, like(name), func(r *mesh.Resource) bool { return r.Meta.Name == name })
		})
	}
	found, left := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		var w writer
		s := Next(Empty(), Input{Changes: []store.Change{w.mesh("default"), w.dataplane("dp-0", "a.example", inbound("web"))}, Hosts: hosts("a.example=192.0.2.1")})
		var rs Readers[int]
		views := map[int]*View{}
		rs.Move(s.Mesh("default"))
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			for range rapid.IntRange(0, 3).Draw(t, "reads") {
				k := rapid.IntRange(0, 5).Draw(t, "reader")
				v := NewView(s.Mesh("default"))
				if s.Mesh("default") == nil {
					rs.Leave(k)
					delete(views, k)
					continue
				}
				for _, ask := range rapid.SliceOfN(rapid.SampledFrom(questions), 0, 4).Draw(t, "questions") {
					ask(v)
				}
				rs.Begin(k)
				rs.Read(k, v)
				views[k] = v
			}
			in := drawInput(t, &w)
			s = Next(s, in)
			if rapid.Bool().Draw(t, "unseen") {
				continue // so that some read at a moment that no Move was to
			}
			var want []int
			for k, v := range views {
				if !v.Fresh(s.Mesh("default")) {
					want = append(want, k)
				}
			}
			slices.Sort(want)
			got := slices.Sorted(slices.Values(rs.Move(s.Mesh("default"))))
			if !slices.Equal(got, want) {
				t.Fatalf("found %v, but these are not fresh: %v", got, want)
			}
			found, left = found+len(got), left+len(views)-len(got)
			for _, k := range got { // each reads anew, or is gone
				rs.Leave(k)
				delete(views, k)
			}
		}
		for k := range views {
			rs.Leave(k)
		}
		for kind := range rs.policies {
			if len(rs.policies[kind]) == 0 {
				delete(rs.policies, kind)
			}
		}
		if len(rs.by)+len(rs.policies)+len(rs.read)+len(rs.apart)+len(rs.busy) > 0 {
			t.Fatalf("all have left, and of them is left: %+v", rs)
		}
	})
	if found < 100 || left < 100 {
		t.Errorf("%d readers were found and %d were not: that proves little", found, left)
	}
}

// drawInput draws something that happens.
func drawInput(t *rapid.T, w *writer) Input {
	name := fmt.Sprint("p-", rapid.IntRange(0, 2).Draw(t, "name"))
	changes := map[string]func() Input{
		"a permission": func() Input { return Input{Changes: []store.Change{w.permission(name)}} },
		"no permission": func() Input {
			c := w.permission(name)
			c.Now = nil
			return Input{Changes: []store.Change{c}}
		},
		"the mesh": func() Input { return Input{Changes: []store.Change{w.mesh("default")}} },
		"no mesh":  func() Input { c := w.mesh("default"); c.Now = nil; return Input{Changes: []store.Change{c}} },
		"a secret": func() Input {
			return Input{Changes: []store.Change{w.put(mesh.SecretKind, "default", "s", &mesh.Secret{})}}
		},
		"a file":     func() Input { return Input{Files: map[string]string{"/ca.pem": name}} },
		"an address": func() Input { return Input{Hosts: hosts("a.example=192.0.2." + name[2:])} },
		"an endpoint": func() Input {
			return Input{Changes: []store.Change{w.dataplane("dp-"+name[2:], "a.example", inbound("web"))}}
		},
		"a service": func() Input {
			return Input{Changes: []store.Change{w.dataplane("dp-1", "192.0.2.4", inbound("svc-"+name))}}
		},
		"nothing": func() Input { return Input{} },
	}
	what := rapid.SampledFrom(slices.Sorted(maps.Keys(changes))).Draw(t, "what")
	return changes[what]()
}

// Readers that are alike are asked once in a step, and each counts.
func TestReadersThatAreAlikeAreAskedOnce(t *testing.T) {
	var w writer
	s := state(t, w.mesh("default"), w.permission("p"))
	var asked []string
	var rs Readers[string]
	rs.Move(s.Mesh("default"))
	for _, r := range []struct {
		name, like string
		matters    bool
	}{{"web-1", "web", true}, {"api-1", "api", false}, {"web-2", "web", true}, {"api-2", "api", false}} {
		v := NewView(s.Mesh("default"))
		v.PoliciesThat(mesh.TrafficPermissionKind, like(r.like), func(*mesh.Resource) bool {
			asked = append(asked, r.like)
			return r.matters
		})
		rs.Read(r.name, v)
	}
	next := Next(s, Input{Changes: []store.Change{w.permission("q")}})
	if got := slices.Sorted(slices.Values(rs.Move(next.Mesh("default")))); !slices.Equal(got, []string{"web-1", "web-2"}) {
		t.Errorf("found %q", got)
	}
	slices.Sort(asked)
	if !slices.Equal(asked, []string{"api", "web"}) {
		t.Errorf("asked %q", asked)
	}
}

// Whoever is reading may have read what was before, and is found until he has
// read again.
func TestReadersThatAreReadingAreFound(t *testing.T) {
	var w writer
	s := state(t, w.mesh("default"))
	var rs Readers[string]
	rs.Move(s.Mesh("default"))
	rs.Begin("a")
	v := NewView(s.Mesh("default"))
	v.Spec()
	next := Next(s, Input{Changes: []store.Change{w.mesh("default")}})
	if got := rs.Move(next.Mesh("default")); !slices.Equal(got, []string{"a"}) {
		t.Errorf("while a was reading, found %q", got)
	}
	rs.Read("a", NewView(next.Mesh("default")))
	if got := rs.Move(Next(next, Input{Changes: []store.Change{w.mesh("default")}}).Mesh("default")); len(got) > 0 {
		t.Errorf("a read nothing, and is found: %q", got)
	}
}
