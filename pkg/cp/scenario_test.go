package cp_test

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/plan"
	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/xds"
	"github.com/weft-mesh/weft/pkg/envoy/render"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

var update = flag.Bool("update", false, "rewrite what the scenarios expect")

// epoch is when the first resource of a scenario was created; each further one
// is a second younger.
var epoch = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// TestScenarios takes what people write through all pure stages. A scenario is
// a file of parts:
//
//	resources.yaml      what is in the store
//	hosts.yaml          what DNS names stand for (optional)
//	files.yaml          hashes of the files that resources name (optional)
//	plan/<proxy>.yaml   the plan of a proxy, with its warnings
//	calls/<proxy>.yaml  of that the outbounds, the clusters and the warnings
//	warnings/<proxy>.yaml  its warnings, and those of its rendering
//	envoy/<proxy>.yaml  what Envoy is told of it
//	envoy/<proxy>/<name>.yaml
//	                    of that what bears the name
//	endpoints.yaml      of all services, names.yaml: of all services
//
// All but the first two are checked where the file has them. To add one, write its
// marker line and run with -update. In a scenario of several meshes their names
// begin with the mesh's, "two/names.yaml".
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 15 {
		t.Fatalf("found %d scenarios only", len(files))
	}
	proxies := &stream{Server: xds.New(xds.Config{})}
	var told []envoytest.Told
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		t.Run(name, func(t *testing.T) { told = append(told, run(t, proxies, name, file)...) })
	}
	if !envoytest.Present() {
		t.Log("the real Envoy was not asked: there is none; run make envoy")
		return
	}
	envoytest.Accept(t, told...)
}

// run checks one scenario, and returns what it has Envoys told.
func run(t *testing.T, proxies *stream, name, file string) (told []envoytest.Told) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if title := string(bytes.TrimSpace(archive.Comment)); !strings.HasSuffix(title, ".") {
		t.Errorf("the title %q is no sentence", title)
	}
	state := load(t, archive)
	for _, meshName := range state.Meshes() {
		told = append(told, holds(t, proxies, name, state.Mesh(meshName))...)
	}
	checked := 0
	for i := range archive.Files {
		f := &archive.Files[i]
		if f.Name == "resources.yaml" || f.Name == "hosts.yaml" || f.Name == "files.yaml" {
			continue
		}
		checked++
		got := part(t, state, f.Name)
		if *update {
			f.Data = got
		} else if d := cmp.Diff(string(f.Data), string(got)); d != "" {
			t.Errorf("%s is not as expected (-want +got); go test ./pkg/cp -run Scenarios -update rewrites it:\n%s", f.Name, d)
		}
	}
	if checked == 0 {
		t.Error("the scenario expects nothing")
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return told
}

// load makes the state that a scenario's resources are.
func load(t *testing.T, archive *txtar.Archive) *snapshot.State {
	t.Helper()
	in := snapshot.Input{Hosts: map[string]netip.Addr{}}
	for _, f := range archive.Files {
		switch f.Name {
		case "files.yaml":
			if err := yaml.UnmarshalStrict(f.Data, &in.Files); err != nil {
				t.Fatalf("files.yaml: %v", err)
			}
		case "hosts.yaml":
			if err := yaml.UnmarshalStrict(f.Data, &in.Hosts); err != nil {
				t.Fatalf("hosts.yaml: %v", err)
			}
		case "resources.yaml":
			resources, err := api.DecodeAll(f.Data)
			if err != nil {
				t.Fatalf("resources.yaml: %v", err)
			}
			for i, r := range resources {
				if err := r.Spec.Validate().Err(); err != nil {
					t.Fatalf("resources.yaml: %s: %v", r.Key(), err)
				}
				r.Meta.Created = epoch.Add(time.Duration(i) * time.Second)
				r.Meta.Modified = r.Meta.Created
				r.Meta.Version = mesh.Version(i + 1)
				in.Changes = append(in.Changes, store.Change{Key: r.Key(), Version: r.Meta.Version, Now: &r})
			}
		}
	}
	return snapshot.Next(snapshot.Empty(), in)
}

// holds checks what is true of every mesh: each plan can be rendered, is the
// same when it is made again, and names no cluster without endpoints. It
// returns what Envoys are told.
func holds(t *testing.T, proxies *stream, scenario string, m *snapshot.Mesh) (told []envoytest.Told) {
	t.Helper()
	clusters := map[string]bool{}
	shared := envoytest.Told{Name: fmt.Sprintf("scenario %s, mesh %s", scenario, m.Name())}
	for _, e := range endpoints(m) {
		clusters[e.Cluster] = true
		shared.Endpoints = append(shared.Endpoints, render.Endpoints(e))
	}
	told = append(told, shared)
	for _, r := range m.Dataplanes() {
		c, _ := plan.For(snapshot.NewView(m), r.Meta.Name)
		again, _ := plan.For(snapshot.NewView(m), r.Meta.Name)
		if d := cmp.Diff(string(yamlOf(t, c)), string(yamlOf(t, again))); d != "" {
			t.Errorf("the plan of %s is another one the second time:\n%s", r.Meta.Name, d)
		}
		b, err := render.Resources(c)
		if err != nil {
			t.Error(err)
			continue
		}
		told = append(told, envoytest.Told{Name: fmt.Sprintf("scenario %s, proxy %s", scenario, c.ID), Bundle: b})
		proxies.inParts(t, c)
		for _, cl := range c.Clusters {
			if cl.External == nil && !clusters[cl.Name] || cl.Endpoints != "" && !clusters[cl.Endpoints] {
				t.Errorf("%s calls cluster %s, of which no endpoints are made", r.Meta.Name, cl.Name)
			}
		}
	}
	return told
}

// A stream keeps what it encoded, so that parts of one scenario are found again
// in all that follow.
type stream struct {
	*xds.Server
	kept []*xds.Bundle
}

// inParts checks that a proxy gets the same, whether its plan is rendered whole
// or in parts, some of which others have already.
func (s *stream) inParts(t *testing.T, c *proxy.Config) {
	t.Helper()
	whole, err := s.Encode([]render.Part{{Render: func() (*render.Bundle, error) { return render.Resources(c) }}}, nil)
	if err != nil {
		t.Error(err)
		return
	}
	parts, err := s.Encode(render.Parts(c), nil)
	if err != nil {
		t.Error(err)
		return
	}
	s.kept = append(s.kept, parts)
	if whole.Version != parts.Version || !slices.Equal(whole.Warnings, parts.Warnings) {
		t.Errorf("the plan of %s is rendered otherwise in parts", c.ID)
	}
}

func endpoints(m *snapshot.Mesh) (all []proxy.Endpoints) {
	for _, service := range snapshot.Changed(nil, m) {
		all = append(all, plan.Endpoints(m, service)...)
	}
	return all
}

// part makes one of a scenario's parts.
func part(t *testing.T, state *snapshot.State, name string) []byte {
	t.Helper()
	meshName, name := meshOf(t, state, name)
	m := state.Mesh(meshName)
	dir, proxyName := filepath.Split(strings.TrimSuffix(name, ".yaml"))
	switch {
	case dir == "plan/":
		c, warnings := plan.For(snapshot.NewView(m), proxyName)
		if c == nil {
			t.Fatalf("%s: mesh %s has no such dataplane", name, meshName)
		}
		return yamlOf(t, struct {
			*proxy.Config
			Warnings []plan.Warning `json:"warnings,omitempty"`
		}{c, warnings})
	case dir == "calls/":
		c, warnings := plan.For(snapshot.NewView(m), proxyName)
		if c == nil {
			t.Fatalf("%s: mesh %s has no such dataplane", name, meshName)
		}
		return yamlOf(t, struct {
			Outbounds []proxy.Outbound `json:"outbounds"`
			Clusters  []proxy.Cluster  `json:"clusters,omitempty"`
			Warnings  []plan.Warning   `json:"warnings,omitempty"`
		}{c.Outbounds, c.Clusters, warnings})
	case dir == "warnings/":
		return warnings(t, m, proxyName)
	case dir == "envoy/":
		return envoy(t, m, proxyName, "")
	case strings.HasPrefix(dir, "envoy/"):
		return envoy(t, m, strings.TrimSuffix(strings.TrimPrefix(dir, "envoy/"), "/"), proxyName)
	case name == "endpoints.yaml":
		return yamlOf(t, endpoints(m))
	case name == "names.yaml":
		return yamlOf(t, plan.Names(m))
	}
	t.Fatalf("a scenario has no part %s", name)
	return nil
}

// meshOf takes the mesh off a part's name, where there are several meshes.
func meshOf(t *testing.T, state *snapshot.State, name string) (meshName, rest string) {
	t.Helper()
	if names := state.Meshes(); len(names) == 1 {
		return names[0], name
	}
	meshName, rest, _ = strings.Cut(name, "/")
	if state.Mesh(meshName) == nil {
		t.Fatalf("%s: there is no mesh %q", name, meshName)
	}
	return meshName, rest
}

// warnings prints what plan and rendering of a proxy warn of.
func warnings(t *testing.T, m *snapshot.Mesh, name string) []byte {
	t.Helper()
	c, planned := plan.For(snapshot.NewView(m), name)
	b, err := render.Resources(c)
	if err != nil {
		t.Fatal(err)
	}
	return yamlOf(t, append(planned, b.Warnings...))
}

// envoy prints what Envoy is told of a proxy, of all only where of is "".
func envoy(t *testing.T, m *snapshot.Mesh, name, of string) []byte {
	t.Helper()
	c, _ := plan.For(snapshot.NewView(m), name)
	if c == nil {
		t.Fatalf("there is no dataplane %s", name)
	}
	b, err := render.Resources(c)
	if err != nil {
		t.Fatal(err)
	}
	if of != "" {
		another := func(r render.Resource) bool { return r.Name != of }
		b.Listeners = slices.DeleteFunc(b.Listeners, another)
		b.Clusters = slices.DeleteFunc(b.Clusters, another)
		b.Routes = slices.DeleteFunc(b.Routes, another)
		if len(b.Listeners)+len(b.Clusters)+len(b.Routes) == 0 {
			t.Fatalf("proxy %s has nothing that is called %s", name, of)
		}
	}
	y, err := render.YAML(b)
	if err != nil {
		t.Fatal(err)
	}
	if of != "" { // the version is of all
		y = y[:bytes.LastIndex(y, []byte("version: "))]
	}
	return y
}

func yamlOf(t *testing.T, v any) []byte {
	t.Helper()
	y, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return y
}
