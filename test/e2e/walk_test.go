//go:build linux

// Package e2e tests whole meshes: the real programs with the real Envoy on the
// real kernel, on hosts that are network namespaces.
package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/testmesh"
	"github.com/weft-mesh/weft/internal/testnet"
)

func TestMain(m *testing.M) { testmesh.Main(m) }

// service answers on a host what it saw of the caller. It knows nothing of the
// mesh.
func service(t *testing.T, h *testmesh.Host, listen string) {
	t.Helper()
	script := filepath.Join(t.TempDir(), "service.py")
	if err := os.WriteFile(script, []byte(`
import http.server, json, socket, sys
class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = json.dumps({"name": sys.argv[1], "path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET
Server((sys.argv[2], 8080), Service).serve_forever()
`), 0o600); err != nil {
		t.Fatal(err)
	}
	testmesh.Start(t, h.Host, "python3", script, h.Service, listen)
	testmesh.Eventually(t, "the service of "+h.Service+" listens", func() error {
		c, err := h.TryDial("tcp", "127.0.0.1:8080")
		if err != nil {
			return err
		}
		return c.Close()
	})
}

type answer struct {
	Name, Path string
	Headers    map[string]string
}

func parse(t *testing.T, body string) (a answer) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		t.Fatalf("the service answered %q: %v", body, err)
	}
	return a
}

// TestTwoHostsTalk walks the way of a new user, one step after the other.
func TestTwoHostsTalk(t *testing.T) {
	m := testmesh.New(t)
	web := m.Join(t, "web")
	api := m.Join(t, "api")
	service(t, web, "127.0.0.1")
	service(t, api, "0.0.0.0")
	other := m.Net.Host("stranger")

	step := 0
	run := func(name string, f func(t *testing.T)) {
		step++
		if !t.Run(fmt.Sprintf("%02d %s", step, name), f) {
			t.FailNow()
		}
	}
	run("without a permission nobody calls anybody", func(t *testing.T) {
		code, body, err := web.Curl(t, "http://api.mesh/")
		if err == nil && code == "200" {
			t.Fatalf("the call was answered: %s", body)
		}
		if code != "503" {
			t.Errorf("code %s, error %v, body %q; want 503 of the caller's Envoy", code, err, body)
		}
	})
	run("inspect tells why", func(t *testing.T) {
		out := m.Ctl(t, "inspect", "dataplane", "api-1", "--stage", "plan")
		if !strings.Contains(out, "no TrafficPermission") || !strings.Contains(out, "kuma.io/service=api") {
			t.Errorf("the plan does not say why:\n%s", out)
		}
	})
	m.Allow(t, "web", "api")
	for _, family := range []string{"--ipv4", "--ipv6"} {
		run("with a permission the call is answered, "+family, func(t *testing.T) {
			a := parse(t, web.WaitAnswer(t, family, "http://api.mesh/hello"))
			if a.Name != "api" || a.Path != "/hello" {
				t.Errorf("answered by %q at %q", a.Name, a.Path)
			}
			if got := a.Headers["x-forwarded-client-cert"]; !strings.Contains(got, "URI=spiffe://default/web") || !strings.Contains(got, "By=spiffe://default/api") {
				t.Errorf("the service saw x-forwarded-client-cert %q", got)
			}
		})
	}
	run("an identity cannot be claimed by a header", func(t *testing.T) {
		a := parse(t, web.WaitAnswer(t, "-H", "x-forwarded-client-cert: URI=spiffe://default/admin", "http://api.mesh/"))
		if got := a.Headers["x-forwarded-client-cert"]; strings.Contains(got, "admin") {
			t.Errorf("the service saw x-forwarded-client-cert %q", got)
		}
	})
	run("the other way needs a permission of its own", func(t *testing.T) {
		if code, body, _ := api.Curl(t, "http://web.mesh/"); code == "200" {
			t.Fatalf("the call was answered: %s", body)
		}
		m.Allow(t, "api", "web")
		if a := parse(t, api.WaitAnswer(t, "http://web.mesh/")); a.Name != "web" {
			t.Errorf("answered by %q", a.Name)
		}
	})
	run("a call to the own service goes through the mesh too", func(t *testing.T) {
		if code, _, _ := web.Curl(t, "http://web.mesh/"); code == "200" {
			t.Fatal("web called itself without a permission")
		}
		m.Allow(t, "web", "web")
		a := parse(t, web.WaitAnswer(t, "http://web.mesh/"))
		if got := a.Headers["x-forwarded-client-cert"]; !strings.Contains(got, "URI=spiffe://default/web") {
			t.Errorf("the service saw x-forwarded-client-cert %q", got)
		}
	})
	run("the own address is called directly", func(t *testing.T) {
		// 0.0.0.0 of api includes its address on the segment.
		a := parse(t, api.WaitAnswer(t, fmt.Sprintf("http://%s:8080/", api.IP4)))
		if got, ok := a.Headers["x-forwarded-client-cert"]; ok {
			t.Errorf("a direct call passed Envoy: %q", got)
		}
	})
	run("a host outside of the mesh gets in nowhere", func(t *testing.T) {
		for _, addr := range []string{
			fmt.Sprintf("http://%s:8080/", api.IP4), fmt.Sprintf("http://[%s]:8080/", api.IP6),
			fmt.Sprintf("http://%s:15006/", api.IP4), fmt.Sprintf("http://%s:15001/", api.IP4), fmt.Sprintf("http://[%s]:15001/", api.IP6),
		} {
			out, err := other.TryRun(t, "curl", "--silent", "--max-time", "3", addr)
			if err == nil {
				t.Errorf("%s answered a stranger: %s", addr, out)
			}
		}
	})
	run("ports that nobody named stay as they were", func(t *testing.T) {
		l := api.Listen(t, "0.0.0.0:2222")
		other.Dial(t, "tcp", fmt.Sprintf("%s:2222", api.IP4))
		if got := l.Accept(t).RemoteAddr().String(); !strings.HasPrefix(got, other.IP4.String()+":") {
			t.Errorf("the connection to an undeclared port came from %s", got)
		}
	})
	run("an unknown name of the mesh does not exist, and is not asked outside", func(t *testing.T) {
		if code, _, err := web.Curl(t, "http://nobody.mesh/"); err == nil {
			t.Errorf("code %s", code)
		}
	})
	run("hosts outside are reached through the passthrough", func(t *testing.T) {
		l := other.Listen(t, "0.0.0.0:9999")
		web.Dial(t, "tcp", fmt.Sprintf("%s:9999", other.IP4))
		if got := l.Accept(t).RemoteAddr().String(); !strings.HasPrefix(got, web.IP4.String()+":") {
			t.Errorf("came from %s", got)
		}
	})
	run("taking the permission back closes the way", func(t *testing.T) {
		m.Ctl(t, "delete", "traffic-permission", "web-to-api")
		testmesh.Eventually(t, "the call is denied", func() error {
			if code, _, _ := web.Curl(t, "http://api.mesh/"); code != "503" {
				return fmt.Errorf("code %s", code)
			}
			return nil
		})
	})
	run("with the control plane gone, hosts go on", func(t *testing.T) {
		m.StopControlPlane(t)
		if a := parse(t, api.WaitAnswer(t, "http://web.mesh/")); a.Name != "web" {
			t.Errorf("answered by %q", a.Name)
		}
		if st := web.Status(t); st.Well {
			t.Error("status does not tell that the control plane is away")
		}
	})
	run("and take up changes when it is back", func(t *testing.T) {
		m.StartControlPlane(t)
		m.Allow(t, "web", "api")
		if a := parse(t, web.WaitAnswer(t, "http://api.mesh/")); a.Name != "api" {
			t.Errorf("answered by %q", a.Name)
		}
		web.WaitWell(t)
	})
	run("leaving undoes what joining and running did", func(t *testing.T) {
		program := web.AgentProgram()
		if out, err := web.Agent(t, "leave"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if code := program.Wait(t); code != 0 {
			t.Errorf("the agent ended with %d", code)
		}
		left, err := filepath.Glob(web.Dir + "/*")
		if err != nil || len(left) > 0 {
			t.Errorf("files are left: %v %v", left, err)
		}
		if rules := web.Run(t, "nft", "list", "ruleset"); strings.TrimSpace(rules) != "" {
			t.Errorf("rules are left:\n%s", rules)
		}
		if routes := web.Run(t, "ip", "route", "show", "240.0.0.0/4"); strings.TrimSpace(routes) != "" {
			t.Errorf("routes are left:\n%s", routes)
		}
		if out, err := m.TryCtl(t, "get", "dataplane", "web-1"); err == nil {
			t.Errorf("the Dataplane is left:\n%s", out)
		}
		testmesh.Eventually(t, "peers know that web is gone", func() error {
			if code, _, _ := api.Curl(t, "http://web.mesh/"); code == "200" {
				return fmt.Errorf("web.mesh still answers")
			}
			return nil
		})
	})
}

// TestHostsByIPv6 has two hosts that reach each other by IPv6 alone.
func TestHostsByIPv6(t *testing.T) {
	m := testmesh.New(t)
	join := func(name string) *testmesh.Host {
		h := m.NewHost(t, name)
		token := strings.TrimSpace(m.Ctl(t, "join-token", "--tag", "kuma.io/service="+name, "--address", fmt.Sprintf("[%s]:5678", m.CP.IP6)))
		h.Run(t, "ip", "address", "del", fmt.Sprintf("%s/%d", h.IP4, testnet.Segment4.Bits()), "dev", "eth0")
		h.UseResolver(t, fmt.Sprintf("nameserver %s\n", m.CP.IP6))
		h.JoinMesh(t, token)
		h.StartAgent(t)
		h.WaitWell(t)
		return h
	}
	web, api := join("web"), join("api")
	service(t, api, "::")
	m.Allow(t, "web", "api")
	a := parse(t, web.WaitAnswer(t, "http://api.mesh/"))
	if got := a.Headers["x-forwarded-client-cert"]; !strings.Contains(got, "URI=spiffe://default/web") {
		t.Errorf("the service saw x-forwarded-client-cert %q", got)
	}
	if out := m.Ctl(t, "get", "dataplane", "api-1", "-o", "yaml"); !strings.Contains(out, "address: "+api.IP6.String()) {
		t.Errorf("api is not known by its IPv6 address:\n%s", out)
	}
}
