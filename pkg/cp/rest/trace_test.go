package rest

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
)

// A departure is where our answers differ from the recorded ones, on purpose.
type departure struct {
	of   string // part of what is asked, method and path; "": whatever
	at   string // part of "path: what", see differ
	why  string
	seen bool
}

// departures lists all of them. One that nothing departs by is out of date, and
// fails.
var departures = []*departure{
	{of: "PUT /meshes/default/traffic-permissions/", at: ".warnings: is new", why: "a selector that matches nothing yet is told: it looks as a typing error does"},
	{of: "GET /meshes/default/dataplanes/web-1/policies", at: ".items[dataplane]: is missing", why: "policies with a targetRef have no effect yet, and only what has one is listed"},
	{of: "GET /meshes/default/dataplanes/web-1/policies", at: ".total: 1, was 2", why: "as above"},
	{of: "/xds?", at: "status: 400, was 500", why: "that no agent is connected is no fault of the server's: it is said"},
	{of: "/xds?", at: ".detail", why: "as above"},
	{of: "POST /tokens/dataplane", at: "cannot generate dataplane tokens, was user", why: "the same, as a sentence"},
	{of: "POST /tokens/zone", at: "cannot generate zone tokens, was user", why: "as above"},
	{of: "POST /tokens/user", at: "cannot generate user tokens, was action not allowed", why: "who may not what is said here, too"},
	{of: "GET /mesh-insights", at: ".resources.Secret: is missing", why: "the authority of these tests makes no secrets"},
	{of: "GET /global-insight", at: ".resources.Secret: is missing", why: "as above"},
	{of: "GET /who-am-i", at: "", why: "we ask as the administrator"},
	{of: "PUT /meshes/default/dataplanes/other", at: "[1]: is new", why: "all that is wrong is told at once: the document has no inbound, either"},
	// A new mesh has no policies here (RATIONALE.md), and no names by generators.
	{of: "/meshtimeouts", at: "", why: "the default policies of Kuma are not made"},
	{of: "/meshretries", at: "", why: "as above"},
	{of: "/meshcircuitbreakers", at: "", why: "as above"},
	{of: "GET /mesh-insights", at: ".policies", why: "as above"},
	{of: "GET /mesh-insights", at: ".resources", why: "as above"},
	{of: "GET /global-insight", at: ".policies.total", why: "as above"},
	{of: "GET /global-insight", at: ".resources.Mesh", why: "as above"},
	{of: "GET /hostnamegenerators", at: "", why: "names come from VirtualOutbounds and the domain .mesh: generators have no effect yet"},
	{of: "GET /global-insight", at: ".resources.HostnameGenerator", why: "as above"},
	{of: "GET /global-insight", at: ".zones.controlPlanes.total", why: "the zone of the control plane itself is counted"},
}

// TestTrace replays what kumactl sent to a control plane of Kuma, and wants
// what that answered, but for departures. Who sent it had no right to secrets
// and tokens, so where it was refused we ask as nobody, too, and elsewhere as
// an administrator.
func TestTrace(t *testing.T) {
	f := newFixture(t, func(s *Server) {
		admin := s.Authenticate
		s.Authenticate = FirstOf(admin, func(*http.Request) (User, error) {
			return User{Name: "mesh-system:anonymous", Groups: []string{"mesh-system:unauthenticated"}}, nil
		})
	})
	// As it was there.
	f.want(t, 200, "PUT", "/meshes/default", `{"type": "Mesh", "name": "default"}`)
	f.want(t, 201, "PUT", "/zones/default", `{"type": "Zone", "name": "default"}`)
	command := ""
	for _, s := range readTrace(t) {
		if s.path == "" {
			command = s.method
			continue
		}
		headers := []string{"Content-Type", cmp.Or(s.contentType, "application/json")}
		if s.send == "" {
			headers = nil
		}
		if s.status == http.StatusForbidden {
			headers = append(headers, "Authorization", "")
		}
		resp, body := f.request(t, s.method, s.path, s.send, headers...)
		asked := s.method + " " + s.path
		var faults []string
		if resp.status != s.status {
			faults = append(faults, fmt.Sprintf("status: %d, was %d", resp.status, s.status))
		}
		if strings.HasPrefix(s.want, "{") {
			text, cut := strings.CutSuffix(s.want, "…")
			differ("", parse(t, closed(text, cut)), parse(t, body), &faults)
			faults = slices.DeleteFunc(faults, func(fault string) bool {
				return cut && strings.Count(fault, ".") == 1 && strings.HasSuffix(fault, "]: is new")
			})
		}
		for _, fault := range faults {
			if !departs(asked, fault) {
				t.Errorf("%s: %s: %s", command, asked, fault)
			}
		}
	}
	for _, d := range departures {
		if !d.seen {
			t.Errorf("nothing departs by %q %q any more", d.of, d.at)
		}
	}
}

func departs(asked, fault string) bool {
	for _, d := range departures {
		if strings.Contains(asked, d.of) && strings.Contains(fault, d.at) {
			d.seen = true
			return true
		}
	}
	return false
}

// differ notes where got is not want, each as "path: what". Items with names
// are compared by name.
func differ(path string, want, got any, faults *[]string) {
	note := func(text string, args ...any) {
		*faults = append(*faults, path+": "+fmt.Sprintf(text, args...))
	}
	switch want := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			note("%s, was an object", short(fmt.Sprint(got)))
			return
		}
		for _, k := range slices.Sorted(maps.Keys(want)) {
			if v, ok := g[k]; !ok {
				*faults = append(*faults, path+"."+k+": is missing")
			} else {
				differ(path+"."+k, want[k], v, faults)
			}
		}
		for _, k := range slices.Sorted(maps.Keys(g)) {
			if _, ok := want[k]; !ok {
				*faults = append(*faults, path+"."+k+": is new")
			}
		}
	case []any:
		g, ok := got.([]any)
		if !ok {
			note("%s, was a list", short(fmt.Sprint(got)))
			return
		}
		named := map[string]any{}
		for i, v := range g {
			named[nameOf(v, i)] = v
		}
		for i, w := range want {
			name := nameOf(w, i)
			if v, ok := named[name]; !ok {
				*faults = append(*faults, path+"["+name+"]: is missing")
			} else {
				differ(path+"["+name+"]", w, v, faults)
			}
			delete(named, name)
		}
		for _, name := range slices.Sorted(maps.Keys(named)) {
			*faults = append(*faults, path+"["+name+"]: is new")
		}
	default:
		if want != got {
			note("%v, was %v", got, want)
		}
	}
}

func nameOf(v any, i int) string {
	if m, ok := v.(map[string]any); ok {
		if name, ok := m["name"].(string); ok {
			return name
		}
		if kind, ok := m["type"].(string); ok {
			return kind
		}
	}
	return fmt.Sprint(i)
}

// closed ends a document that was recorded in part after its last whole item.
func closed(text string, cut bool) string {
	if !cut {
		return text
	}
	return text[:strings.LastIndex(text, "}, {")] + "}]}"
}

// A traced is one request of the trace; without a path it is a command.
type traced struct {
	method, path, contentType, send, want string
	status                                int
}

func readTrace(t *testing.T) (all []traced) {
	t.Helper()
	data, err := os.ReadFile("testdata/trace.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		last := &traced{}
		if len(all) > 0 {
			last = &all[len(all)-1]
		}
		switch {
		case strings.HasPrefix(line, "# "):
			all = append(all, traced{method: line[2:]})
		case strings.HasPrefix(line, "> "):
			words := append(strings.Fields(line[2:]), "", "")
			all = append(all, traced{method: words[0], path: words[1], contentType: words[2]})
		case strings.HasPrefix(line, "< "):
			if _, err := fmt.Sscan(line[2:], &last.status); err != nil {
				t.Fatal(err)
			}
		case line != "" && last.status == 0:
			last.send = line
		case line != "":
			last.want = line
		}
	}
	if len(all) < 150 {
		t.Fatalf("%d lines of the trace only", len(all))
	}
	return all
}
