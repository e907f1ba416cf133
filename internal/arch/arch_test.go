// Package arch holds the rules of the architecture as tests: who may import
// whom, and what a package must say of itself.
package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/weft-mesh/weft/"

// pkg is what `go list` tells of one package.
type pkg struct {
	ImportPath string
	Dir        string
	Doc        string
	GoFiles    []string
	Imports    []string
	Deps       []string
}

func (p pkg) name() string { return strings.TrimPrefix(p.ImportPath, module) }

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps=false", "-json=ImportPath,Dir,Doc,GoFiles,Imports,Deps", "./...")
	cmd.Dir = filepath.Join("..", "..")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 20 {
		t.Fatalf("go list found only %d packages", len(all))
	}
	return all
}

// under tells whether path is folder or lies in it.
func under(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}

// mayImport lists, for each place, what it may import of ours. The longest
// place that fits a package counts; a package that fits none fails.
var mayImport = []struct {
	from string
	of   []string
	why  string
}{
	{"pkg/mesh", nil, "the words stand alone"},
	{"pkg/proxy", nil, "the plan's words stand alone"},
	{"pkg/settings", nil, "any program may use it"},
	{"pkg/keyfile", []string{"pkg/failpoint"}, "any program may use it, and its disk may fail"},
	{"packaging", nil, "texts that packages install"},
	{"pkg/signing", nil, "any program may use it"},
	{"pkg/systemd", nil, "any program may use it"},
	{"cmd/manual", nil, "any program may use it"},
	{"pkg/api", []string{"pkg/mesh"}, "the wire form of the words, nothing of their effect"},
	{"pkg/api/hostv1", nil, "generated messages"},
	{"pkg/failpoint", nil, "any part may fail"},
	{"pkg/cp/store/sealed", []string{"pkg/mesh", "pkg/cp/store", "pkg/keyfile"}, "seals what any store keeps"},
	{"pkg/cp/store", []string{"pkg/mesh", "pkg/failpoint", "pkg/cp/store"}, "a store keeps resources and knows no stage after it"},
	{"pkg/cp/snapshot", []string{"pkg/mesh", "pkg/cp/store", "pkg/cp/policy"}, "changes in, immutable mesh out; policies choose what has which names"},
	{"pkg/cp/policy", []string{"pkg/mesh"}, "which policies apply: no plan, no Envoy"},
	{"pkg/cp/plan", []string{"pkg/mesh", "pkg/proxy", "pkg/cp/snapshot", "pkg/cp/policy"}, "a plan speaks the mesh's words; render speaks Envoy's"},
	{"pkg/cp/ca", []string{"pkg/mesh", "pkg/api", "pkg/cp/store", "pkg/keyfile"}, "signs; whom is decided elsewhere"},
	{"pkg/cp/audit", []string{"pkg/mesh", "pkg/cp/store"}, "writes down what a store was told"},
	{"pkg/cp/trust", []string{"pkg/mesh", "pkg/api/hostv1", "pkg/cp/store", "pkg/cp/ca", "pkg/cp/xds"}, "brings what authorities are to the streams"},
	{"pkg/cp/token", []string{"pkg/mesh", "pkg/cp/store", "pkg/signing"}, "issues and checks; who may ask is decided elsewhere"},
	{"pkg/cp/admission", []string{"pkg/mesh", "pkg/cp/store"}, "the one door to the store"},
	{"pkg/cp/inspect", []string{"pkg/mesh", "pkg/proxy", "pkg/api", "pkg/cp/store", "pkg/cp/snapshot", "pkg/cp/plan"}, "reads states and plans, changes nothing"},
	{"pkg/cp/rest", []string{"pkg/mesh", "pkg/proxy", "pkg/api", "pkg/cp/store", "pkg/cp/admission", "pkg/cp/snapshot", "pkg/cp/inspect", "pkg/cp/audit"}, "routes from the kind table"},
	{"pkg/cp/host", []string{"pkg/mesh", "pkg/api", "pkg/proxy", "pkg/cp/store", "pkg/cp/audit", "pkg/cp/ca", "pkg/cp/token"}, "join, register, leave"},
	{"pkg/cp/history", []string{"pkg/mesh", "pkg/proxy"}, "is told what happened, asks nobody"},
	{"pkg/cp/mirror", []string{"pkg/mesh", "pkg/cp/store"}, "a store that answers while another is away"},
	{"pkg/cp/replica", []string{"pkg/mesh", "pkg/proxy", "pkg/cp/store"}, "replicas speak through the store alone"},
	{"pkg/cp/xds", []string{"pkg/failpoint", "pkg/proxy", "pkg/api/hostv1", "pkg/envoy/render"}, "streams know proxies and bundles, not policies"},
	{"pkg/cp/publish", []string{"pkg/failpoint", "pkg/mesh", "pkg/proxy", "pkg/api", "pkg/cp/store", "pkg/cp/snapshot", "pkg/cp/plan", "pkg/cp/xds", "pkg/envoy/render"}, "joins the stages"},
	{"pkg/cp", []string{"pkg"}, "the composition of the control plane"},
	{"pkg/envoy", nil, "a process and its admin socket"},
	{"pkg/envoy/bootstrap", []string{"pkg/proxy"}, "what Envoy needs before it has a plan"},
	{"pkg/envoy/extensions", nil, "a list of types"},
	{"pkg/envoy/render", []string{"pkg/proxy", "pkg/envoy/extensions"}, "plan in, protobufs out"},
	{"pkg/redirect", nil, "rules and the interface of engines"},
	{"pkg/redirect/route", []string{"pkg/redirect"}, "the routes that every engine needs"},
	{"pkg/redirect/cgroup", []string{"pkg/redirect"}, "the cgroups that every engine needs"},
	{"pkg/redirect/pending", []string{"pkg/redirect", "pkg/redirect/explain", "pkg/redirect/sockets"}, "the calls that every engine finds waiting"},
	{"pkg/redirect/sockets", nil, "sockets and processes of a host, whoever asks"},
	{"pkg/redirect/explain", []string{"pkg/redirect"}, "what rules mean, whatever engine puts them in force"},
	{"pkg/redirect/ebpf", []string{"pkg/redirect", "pkg/redirect/route", "pkg/redirect/cgroup", "pkg/redirect/pending", "pkg/redirect/sockets"}, "engines know nothing of each other"},
	{"pkg/redirect/probe", []string{"pkg/redirect", "pkg/proxy"}, "asks whatever engine it is given; names no engine"},
	{"pkg/redirect/nftables", []string{"pkg/redirect", "pkg/redirect/route", "pkg/redirect/cgroup", "pkg/redirect/pending"}, "engines know nothing of each other"},
	{"pkg/redirect/iptables", []string{"pkg/redirect", "pkg/redirect/route", "pkg/redirect/cgroup", "pkg/redirect/pending"}, "engines know nothing of each other"},
	{"pkg/agent/relay", []string{"pkg/proxy", "pkg/api/hostv1", "pkg/keyfile"}, "parts of the agent never import each other"},
	{"pkg/agent/identity", []string{"pkg/proxy", "pkg/api", "pkg/keyfile"}, "parts of the agent never import each other"},
	{"pkg/agent/accesslog", []string{"pkg/proxy"}, "parts of the agent never import each other"},
	{"pkg/agent/metrics", []string{"pkg/proxy"}, "parts of the agent never import each other"},
	{"pkg/agent/health", nil, "asks a workload; who is told is decided elsewhere"},
	{"pkg/agent/dns", []string{"pkg/proxy"}, "parts of the agent never import each other"},
	{"pkg/agent", []string{"pkg"}, "the composition of the agent"},
	{"cmd/cp", []string{"pkg/cp", "pkg/settings", "cmd/manual"}, "main and flags"},
	{"cmd/dp-agent", []string{"packaging/systemd", "pkg/agent", "pkg/settings", "pkg/systemd", "cmd/manual"}, "main and flags"},
	{"cmd/ctl", []string{"pkg/api", "pkg/mesh", "cmd/manual", "pkg/signing"}, "main and verbs"},
	{"internal", []string{"pkg", "internal"}, "for tests only"},
	{"test", []string{"pkg", "internal"}, "for tests only"},
}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		name := p.name()
		best := -1
		for i, rule := range mayImport {
			if under(name, rule.from) && (best < 0 || len(rule.from) > len(mayImport[best].from)) {
				best = i
			}
		}
		if best < 0 {
			t.Errorf("%s has no rule: say in mayImport what it may import, and why", name)
			continue
		}
		rule := mayImport[best]
	next:
		for _, imp := range p.Imports {
			ours, is := strings.CutPrefix(imp, module)
			if !is || under(ours, name) || under(name, ours) && under(ours, rule.from) {
				continue
			}
			for _, of := range rule.of {
				if under(ours, of) {
					continue next
				}
			}
			t.Errorf("%s imports %s, but may not: %s", name, ours, rule.why)
		}
		for _, imp := range p.Imports {
			if strings.HasPrefix(imp, module+"internal/") && !under(name, "internal") && !under(name, "test") {
				t.Errorf("%s imports %s, which is for tests only", name, imp)
			}
		}
	}
}

// only lists outside packages that few places may know.
var only = []struct {
	what string
	in   []string
	why  string
}{
	{"github.com/envoyproxy/", []string{"pkg/envoy", "pkg/cp/xds", "pkg/agent/relay", "internal", "test"}, "Envoy's types stay where Envoy is spoken to"},
	{"database/sql", []string{"pkg/cp/store/sqlite"}, "SQL stays in its store"},
	{"modernc.org/", []string{"pkg/cp/store/sqlite"}, "SQL stays in its store"},
	{"github.com/jackc/pgx", []string{"pkg/cp/store/postgres", "internal/testpg", "test"}, "SQL stays in its store"},
	{"github.com/anishathalye/porcupine", []string{"pkg/cp/store/storetest"}, "histories are judged in one place"},
	{"k8s.io/", nil, "nothing speaks to Kubernetes yet"},
	{"github.com/google/nftables", []string{"pkg/redirect/nftables", "internal"}, "netfilter stays in its engine"},
	{"github.com/cilium/ebpf", []string{"pkg/redirect/ebpf"}, "eBPF stays in its engine"},
	{"github.com/vishvananda/", []string{"pkg/redirect", "internal", "test"}, "the host's network is changed in one place"},
	{"os/exec", []string{"pkg/cp/store/storetest", "pkg/envoy", "pkg/redirect", "internal", "test"}, "we start Envoy and nothing else"},
	{"github.com/spf13/cobra", []string{"cmd"}, "packages know no command line"},
}

func TestOutsideImports(t *testing.T) {
	for _, p := range packages(t) {
		for _, imp := range p.Imports {
			for _, rule := range only {
				if !strings.HasPrefix(imp, rule.what) {
					continue
				}
				ok := false
				for _, in := range rule.in {
					ok = ok || under(p.name(), in)
				}
				if !ok {
					t.Errorf("%s imports %s, but may not: %s", p.name(), imp, rule.why)
				}
			}
		}
	}
}

// neverLinks lists what a program must not contain, however it got there.
var neverLinks = []struct{ program, what, why string }{
	{"cmd/dp-agent", "modernc.org/", "the agent keeps no database"},
	{"cmd/dp-agent", "database/sql", "the agent keeps no database"},
	{"cmd/dp-agent", "github.com/jackc/pgx", "the agent keeps no database"},
	{"cmd/dp-agent", "k8s.io/", "the agent runs on plain hosts"},
	{"cmd/dp-agent", "github.com/envoyproxy/go-control-plane/pkg/", "the agent relays bytes and stays small"},
	{"cmd/dp-agent", module + "pkg/cp", "the agent is no control plane"},
	{"cmd/ctl", module + "pkg/cp", "weftctl speaks REST"},
	{"cmd/ctl", "google.golang.org/grpc", "weftctl speaks REST"},
}

func TestPrograms(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range packages(t) {
		for _, rule := range neverLinks {
			if p.name() != rule.program {
				continue
			}
			seen[rule.program] = true
			for _, dep := range p.Deps {
				if strings.HasPrefix(dep, rule.what) {
					t.Errorf("%s links %s, but must not: %s", rule.program, dep, rule.why)
				}
			}
		}
	}
	for _, rule := range neverLinks {
		if !seen[rule.program] {
			t.Errorf("there is no program %s", rule.program)
		}
	}
}

// TestPackagesSayWhatTheyAreFor wants one sentence at the head of each package.
func TestPackagesSayWhatTheyAreFor(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) == 0 || under(p.name(), "pkg/api/hostv1") {
			continue
		}
		want := "Package "
		if under(p.name(), "cmd") && p.name() != "cmd/manual" || under(p.name(), "test/bench") {
			want = "Command "
		}
		if !strings.HasPrefix(p.Doc, want) {
			t.Errorf("%s: its comment begins %q, want a sentence that begins with %q", p.name(), p.Doc, want)
		}
	}
}

// maxLines is how long a file may get before it is two.
const maxLines = 400

func TestFilesAreSmall(t *testing.T) {
	for _, p := range packages(t) {
		for _, f := range p.GoFiles {
			if strings.HasSuffix(f, ".pb.go") {
				continue
			}
			text, err := os.ReadFile(filepath.Join(p.Dir, f))
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(text, []byte("\n")); n > maxLines {
				t.Errorf("%s/%s has %d lines: split it by idea, %d is the most", p.name(), f, n, maxLines)
			}
		}
	}
}

// emptyWords say nothing about what a package is for.
var emptyWords = []string{"manager", "core", "base", "util", "utils", "common", "helper", "helpers", "runtime", "info", "misc"}

func TestPackageNames(t *testing.T) {
	for _, p := range packages(t) {
		for word := range strings.SplitSeq(p.name(), "/") {
			for _, empty := range emptyWords {
				if word == empty {
					t.Errorf("%s: %q carries no meaning", p.name(), word)
				}
			}
		}
	}
}
