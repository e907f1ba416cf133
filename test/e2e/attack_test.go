//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testmesh"
	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/internal/testtime"
	"github.com/weft-mesh/weft/pkg/api"
)

// A siege is a mesh in which web may call api and nobody else anybody, a second
// mesh beside it, and an outsider on the same segment.
type siege struct {
	*testmesh.Mesh
	web, api *testmesh.Host
	outside  *testnet.Host

	admin   string            // the admin token
	tokens  map[string]string // dataplane tokens, by whom they are for
	secrets []string          // what nobody may ever print
	printed map[string]string // what was printed, by whom
}

// TestAttacks tries what must never work. Each probe that works fails it.
func TestAttacks(t *testing.T) {
	s := besiege(t)
	silent := s.outside.Dial(t, "tcp", s.web.IP4.String()+":8080")
	t.Run("doors of people", s.people)
	t.Run("doors of hosts", s.hosts)
	t.Run("identities", s.identities)
	t.Run("traffic", s.traffic)
	t.Run("users of an enrolled host", s.users)
	t.Run("bombs", s.bombs)
	t.Run("revocation", s.revocation)
	t.Run("withdrawal", s.withdrawal)
	t.Run("secrets stay secret", s.silence)
	t.Run("a caller who says nothing is left", func(t *testing.T) {
		_ = silent.SetReadDeadline(time.Now().Add(testtime.Wait))
		if _, err := silent.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("its connection: %v", err)
		}
	})
}

func besiege(t *testing.T) *siege {
	s := &siege{tokens: map[string]string{}, printed: map[string]string{}}
	s.Mesh = testmesh.New(t, "--log-level", "debug")
	s.outside = s.Net.Host("outside")
	s.admin = strings.TrimSpace(read(t, s.Dir, "cp", "admin-token"))
	s.secrets = append(s.secrets, s.admin)
	s.Apply(t, `type: Mesh
name: second
mtls: {enabledBackend: ca-1, backends: [{name: ca-1, type: builtin}]}
---
type: Dataplane
mesh: second
name: vault-1
networking: {address: 192.0.2.77, inbound: [{port: 8080, tags: {kuma.io/service: vault}}]}
`)
	hosts := map[string]**testmesh.Host{"web": &s.web, "api": &s.api}
	for who, args := range map[string][]string{
		"web":    {"--tag", "kuma.io/service=web"}, // and any name
		"api":    {"--tag", "kuma.io/service=api", "--name", "api-1"},
		"db":     {"--tag", "kuma.io/service=db", "--name", "db-1"},
		"gone":   {"--tag", "kuma.io/service=gone", "--name", "gone-1"},
		"second": {"--tag", "kuma.io/service=web", "--mesh", "second"},
	} {
		word := strings.TrimSpace(s.Ctl(t, append([]string{"join-token", "--address", s.CP.IP4.String()}, args...)...))
		j, err := api.ParseJoinToken(word)
		if err != nil {
			t.Fatal(err)
		}
		s.tokens[who] = j.Token
		s.secrets = append(s.secrets, word, j.Token)
		if h := hosts[who]; h != nil {
			*h = s.NewHost(t, who)
			s.printed["weft-agent join on "+who] = (*h).Run(t, testmesh.Binary(t, "weft-agent"), (*h).JoinArgs(t, word, "--log-level", "debug")...)
			(*h).StartAgent(t, "--log-level", "debug")
		}
	}
	s.web.WaitWell(t)
	s.api.WaitWell(t)
	service(t, s.api, "0.0.0.0")
	s.Allow(t, "web", "api")
	s.web.WaitAnswer(t, "http://api.mesh/")
	return s
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// send sends bytes to an address as seen from a host, and returns the answer.
func send(from *testnet.Host, network, address, text string) string {
	c, err := from.TryDial(network, address)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		return err.Error()
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		return string(answer) + err.Error()
	}
	return string(answer)
}

func statusOf(answer string) int {
	r, err := http.ReadResponse(bufio.NewReader(strings.NewReader(answer)), nil)
	if err != nil {
		return 0
	}
	_ = r.Body.Close()
	return r.StatusCode
}

// people asks every route in every odd way without a credential that counts.
func (s *siege) people(t *testing.T) {
	paths := []string{
		"/", "/who-am-i", "/_resources", "/policies", "/config", "/_weft/hosts", "/tokens/dataplane", "/secrets", "/meshes", "/dataplanes",
		"/meshes/default", "/meshes/default/secrets", "/meshes/default/dataplanes/web-1", "/meshes/default/dataplanes/web-1/_stages/render",
		"/meshes/default/dataplanes/_overview", "/meshes/default/dataplane-insights/web-1",
		"//meshes", "/./meshes", "/meshes/default/../..", "/%2e%2e/meshes", "/meshes/%2e%2e/meshes", "/meshes/..%2fmeshes", "/meshes;a", "/meshes%00",
		"/metrics", "/debug/pprof/", "*", "http://127.0.0.1:5681/meshes",
	}
	credentials := []string{
		"", "Authorization: Bearer wrong\r\n", "Authorization: Bearer \r\n", "Authorization: Basic " + s.admin + "\r\n", "Authorization: " + s.admin + "\r\n",
		"Authorization: Bearer x\r\nAuthorization: Bearer " + s.admin + "\r\n", "Cookie: token=" + s.admin + "\r\n",
		"Authorization: Bearer " + s.tokens["web"] + "\r\n", "X-Forwarded-For: 127.0.0.1\r\n", "X-Remote-User: mesh-system:admin\r\n",
	}
	for _, path := range paths {
		for _, method := range []string{"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "FROB"} {
			answer := send(s.CP, "tcp", "127.0.0.1:5681", method+" "+path+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
			if code := statusOf(answer); code != 401 && code != 400 {
				t.Errorf("%s %s: %.200q", method, path, answer)
			}
		}
		for _, credential := range credentials {
			answer := send(s.CP, "tcp", "127.0.0.1:5681", "GET "+path+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"+credential+"\r\n")
			if code := statusOf(answer); code != 401 && code != 400 {
				t.Errorf("GET %s with %.40q: %.200q", path, credential, answer)
			}
		}
	}
	send(s.CP, "tcp", "127.0.0.1:5681", "GET /"+strings.Repeat("a", 50_000)+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	for _, address := range []string{"5680", "5681"} {
		for _, ip := range []string{s.CP.IP4.String(), "[" + s.CP.IP6.String() + "]"} {
			if answer := send(s.outside, "tcp", ip+":"+address, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); !strings.Contains(answer, "refused") {
				t.Errorf("port %s answers outsiders: %q", address, answer)
			}
		}
	}
	t.Run("unix socket of root", func(t *testing.T) {
		socket := filepath.Join(s.Dir, "api.sock")
		curl := func() string {
			out, _ := nobody(t, s.CP, "curl", "--silent", "--show-error", "--max-time", "5", "--unix-socket", socket, "http://localhost/meshes")
			return out
		}
		open(t, s.Dir, 0o711)
		if out := curl(); !strings.Contains(out, "curl: (7)") {
			t.Errorf("another user got through the socket's mode: %s", out)
		}
		open(t, socket, 0o666)
		if out := curl(); !strings.Contains(out, `"status": 401`) {
			t.Errorf("another user is not asked for a credential: %s", out)
		}
	})
}

// open loosens a mode for the rest of the test.
func open(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err == nil {
		err = os.Chmod(path, mode)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(path, info.Mode().Perm()) })
}

// TestLocalhostIsAdmin has the door that people from Kuma ask for open, and
// knocks at it as web pages and proxies would.
func TestLocalhostIsAdmin(t *testing.T) {
	m := testmesh.New(t, "--localhost-is-admin")
	for _, tt := range []struct {
		name, head string
		code       int
	}{
		{"a program of this machine", "Host: localhost:5681\r\n", 200},
		{"a name that resolves to it", "Host: evil.example:5681\r\n", 401},
		{"no host", "Host:\r\n", 401},
		{"an address of the network", "Host: " + m.CP.IP4.String() + ":5681\r\n", 401},
		{"a page of another site", "Host: localhost:5681\r\nOrigin: http://evil.example\r\n", 401},
		{"a page of another port", "Host: localhost:5681\r\nOrigin: http://localhost:8080\r\n", 401},
		{"a page without an origin", "Host: localhost:5681\r\nOrigin: null\r\n", 401},
		{"an image in a page", "Host: localhost:5681\r\nSec-Fetch-Site: cross-site\r\n", 401},
		{"a sister site", "Host: localhost:5681\r\nSec-Fetch-Site: same-site\r\n", 401},
		{"a proxy", "Host: localhost:5681\r\nX-Forwarded-For: 203.0.113.1\r\n", 401},
		{"another proxy", "Host: localhost:5681\r\nForwarded: for=203.0.113.1\r\n", 401},
		{"a wrong token", "Host: localhost:5681\r\nAuthorization: Bearer wrong\r\n", 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			answer := send(m.CP, "tcp", "127.0.0.1:5681", "GET /secrets HTTP/1.1\r\nConnection: close\r\n"+tt.head+"\r\n")
			if got := statusOf(answer); got != tt.code {
				t.Errorf("status %d, want %d: %.200q", got, tt.code, answer)
			}
			if strings.Contains(answer, "Access-Control-") {
				t.Error("other sites may read it")
			}
		})
	}
	answer := send(m.CP, "tcp", m.CP.IP4.String()+":5682", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if code := statusOf(answer); code == 200 {
		t.Errorf("the port of the network is open: %q", answer)
	}
}

// bombs are small to send and want to be large. The control plane must not
// grow with them.
func (s *siege) bombs(t *testing.T) {
	lines := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := byte('b'); c < 'k'; c++ {
		lines += fmt.Sprintf("%c: &%c [*%c%s]\n", c, c, c-1, strings.Repeat(",*"+string(c-1), 8))
	}
	permission := `{"type":"TrafficPermission","mesh":"default","name":"x",`
	put := func(body string) (code, size int, took time.Duration) {
		client := http.Client{Transport: &http.Transport{DialContext: dialer(s.CP), DisableKeepAlives: true}, Timeout: testtime.Wait}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://127.0.0.1:5681/meshes/default/traffic-permissions/x", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+s.admin)
		watch := testtime.Start(t)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, len(answer), watch.Took()
	}
	before := resident(t, s.ControlPlane().PID())
	for name, body := range map[string]string{
		"aliases of aliases": lines,
		"aliases wide":       "a: &a [" + strings.Repeat("x,", 20_000) + "]\nb: [" + strings.Repeat("*a,", 20_000) + "]\n",
		"depth":              strings.Repeat("[", 500_000),
		"depth of objects":   strings.Repeat(`{"a":`, 100_000),
		"key twice":          permission + `"name":"y"}`,
		"many faults":        permission + `"sources":[` + strings.TrimSuffix(strings.Repeat("{},", 300_000), ",") + `]}`,
		"many keys":          permission + strings.TrimSuffix(strings.Repeat(`"k":1,`, 100_000), ",") + `}`,
		"huge number":        permission + `"sources":[{"match":{"a":1e999999}}]}`,
		"no UTF-8":           permission + "\"sources\":[{\"match\":{\"a\":\"\xff\xfe\"}}]}",
		"tag of a language":  "!!python/object/apply:os.system [id]",
	} {
		switch code, size, took := put(body); {
		case code != 400:
			t.Errorf("%s: status %d", name, code)
		case size > 100_000:
			t.Errorf("%s: %d bytes are answered with %d", name, len(body), size)
		case took > 5*time.Second:
			t.Errorf("%s: took %s", name, took)
		}
	}
	// Strangers who begin calls of 4 MB and never end them.
	for _, raw := range []string{"", "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJNZXNoIjoiZGVmYXVsdCJ9.AAAA"} {
		s.hold(t, raw, 40)
	}
	if grown := resident(t, s.ControlPlane().PID()) - before; grown > 150 {
		t.Errorf("the control plane grew by %d MB", grown)
	}
	if out := s.Ctl(t, "get", "traffic-permissions"); strings.Contains(out, " x ") {
		t.Errorf("something was stored:\n%s", out)
	}
}

// resident is a process's resident memory in MB.
func resident(t *testing.T, pid int) int {
	t.Helper()
	m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindStringSubmatch(read(t, "/proc", strconv.Itoa(pid), "status"))
	if m == nil {
		t.Fatal("no VmRSS")
	}
	kb, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return kb / 1024
}

// silence looks through everything that was printed.
func (s *siege) silence(t *testing.T) {
	for _, h := range []*testmesh.Host{s.web, s.api} {
		s.printed["the agent of "+h.Name] = h.AgentProgram().Output()
		for _, args := range [][]string{{"status", "-o", "json"}, {"config"}, {"redirect", "check"}} {
			out, _ := h.Agent(t, args...)
			s.printed[fmt.Sprintf("weft-agent %q", args)] += out
		}
		for _, stage := range []string{"resource", "plan", "render", "stream"} {
			s.printed["weftctl inspect"] += s.Ctl(t, "inspect", "dataplane", h.Name+"-1", "--stage", stage)
		}
		for _, name := range []string{"agent.pem", "workload.pem"} {
			_, key, _ := strings.Cut(read(t, h.Dir, "state", name), "-----BEGIN PRIVATE KEY")
			key, _, _ = strings.Cut(key, "-----END")
			for line := range strings.Lines(key) {
				if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-") && len(line) > 20 {
					s.secrets = append(s.secrets, line)
				}
			}
		}
	}
	s.printed["the control plane"] = s.ControlPlane().Output()
	s.printed["weft-cp config"] = s.CP.Run(t, testmesh.Binary(t, "weft-cp"), "config")
	s.printed["GET /config"] = send(s.CP, "tcp", "127.0.0.1:5681", "GET /config HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer "+s.admin+"\r\n\r\n")
	s.printed["metrics"] = send(s.CP, "tcp", "127.0.0.1:5680", "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	s.printed["weftctl get"] = s.Ctl(t, "get", "dataplanes", "-o", "yaml") + s.Ctl(t, "get", "meshes", "-o", "yaml")
	key := regexp.MustCompile(`PRIVATE KEY|eyJ[\w-]{10,}\.eyJ|weft1\.[\w-]{40}`)
	for who, text := range s.printed {
		if len(text) < 20 {
			t.Errorf("%s printed only %q: this looks at nothing", who, text)
		}
		if found := key.FindString(text); found != "" {
			t.Errorf("%s printed %.60q", who, found)
		}
		for _, secret := range s.secrets {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%s printed a secret: …%.80q…", who, text[max(0, i-40):])
			}
		}
	}
	for line := range strings.Lines(s.printed["the control plane"]) {
		if len(line) > 4<<10 {
			t.Errorf("strangers can fill the log: a line has %d bytes: %.200s…", len(line), line)
		}
	}
	if strings.Contains(s.printed["metrics"], "web-1") {
		t.Error("metrics tell who is in the mesh")
	}
	for who, log := range map[string]string{"the control plane": s.printed["the control plane"], "web": s.printed["the agent of web"]} {
		if strings.Contains(log, "panic") || bytes.ContainsRune([]byte(log), 0) {
			t.Errorf("%s panicked or logged raw bytes:\n%s", who, log)
		}
	}
}
