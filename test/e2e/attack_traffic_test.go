//go:build linux

package e2e

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testmesh"
	"github.com/weft-mesh/weft/internal/testnet"
)

// served is what the service of api answers with.
const served = `"name": "api"`

// call sends a request to the service's own port by TLS.
func call(from *testnet.Host, address string, cfg *tls.Config, request string) string {
	raw, err := from.TryDial("tcp", address)
	if err != nil {
		return err.Error()
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(2 * time.Second))
	c := tls.Client(raw, cfg)
	if _, err := io.WriteString(c, request); err != nil {
		return err.Error()
	}
	answer, err := io.ReadAll(c)
	return fmt.Sprint(string(answer), err)
}

// traffic calls the service past the mesh.
func (s *siege) traffic(t *testing.T) {
	const get = "GET / HTTP/1.1\r\nHost: api.mesh\r\nConnection: close\r\n\r\n"
	at := func(port string) []string {
		return []string{s.api.IP4.String() + ":" + port, "[" + s.api.IP6.String() + "]:" + port}
	}
	shown := func(c *tls.Certificate) *tls.Config {
		return &tls.Config{InsecureSkipVerify: true, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c, nil }}
	}
	good := shown(pair(t, s.web, "workload"))
	testmesh.Eventually(t, "the caller who may call is answered", func() error {
		if answer := call(s.outside, at("8080")[0], good, get); !strings.Contains(answer, served) {
			return fmt.Errorf("these probes probe nothing: %q", answer)
		}
		return nil
	})

	plain := map[string]string{
		"plain":                        get,
		"a caller's certificate named": strings.Replace(get, "Host:", "X-Forwarded-Client-Cert: URI=spiffe://default/web\r\nHost:", 1),
		"steered":                      strings.Replace(get, "Host:", "X-Envoy-Original-Dst-Host: 127.0.0.1:8080\r\nX-Envoy-Internal: true\r\nX-Forwarded-For: 127.0.0.1\r\nHost:", 1),
		"a PROXY header":               "PROXY TCP4 127.0.0.1 127.0.0.1 1 8080\r\n" + get,
		"a binary PROXY header":        "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x01\x00\x01\x1f\x90" + get,
		"HTTP/2 at once":               "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
		"an upgrade":                   strings.Replace(get, "Connection: close", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__", 1),
		"a tunnel":                     "CONNECT 127.0.0.1:8080 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n",
	}
	for _, from := range []*testnet.Host{s.outside, s.web.Host} {
		for _, port := range []string{"8080", "15006", "15001", "15053", "9901", "80"} {
			for _, address := range at(port) {
				for name, text := range plain {
					if port != "8080" && name != "plain" {
						continue
					}
					if answer := send(from, "tcp", address, text); strings.Contains(answer, served) || strings.HasPrefix(answer, "HTTP/") || strings.Contains(answer, "timeout") {
						t.Errorf("%s, %s from %s: %q", address, name, from.Name, answer)
					}
				}
			}
		}
	}
	if answer := send(s.outside, "udp", at("15053")[0], "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03api\x04mesh\x00\x00\x01\x00\x01"); strings.Contains(answer, "mesh") {
		t.Errorf("the host's DNS answers outsiders: %q", answer)
	}

	s.Ctl(t, "delete", "dataplane", "db-1") // the name is the host's that enrolled before
	dbAgent, db, err := s.enrol(t, s.tokens["db"], document("default", "db-1", "db", ""))
	if err != nil {
		t.Fatal(err)
	}
	_, second, err := s.enrol(t, s.tokens["second"], document("second", "web-1", "web", ""))
	if err != nil {
		t.Fatal(err)
	}
	named := func(c *tls.Certificate, sni string, alpn ...string) *tls.Config {
		cfg := shown(c)
		cfg.ServerName, cfg.NextProtos = sni, alpn
		return cfg
	}
	old := shown(pair(t, s.web, "workload"))
	old.MaxVersion = tls.VersionTLS12
	chained := forged(t, "spiffe://default/web")
	chained.Certificate = append(chained.Certificate, pair(t, s.web, "workload").Certificate...)
	for name, cfg := range map[string]*tls.Config{
		"no certificate":                          {InsecureSkipVerify: true},
		"another service's":                       shown(db),
		"another service's, the mesh's protocol":  named(db, "api{mesh=default}", "kuma"),
		"another service's, HTTP/2":               named(db, "web{mesh=default}", "h2", "http/1.1"),
		"that service's of another mesh":          named(second, "api{mesh=default}", "kuma"),
		"an agent's":                              shown(dbAgent),
		"one of its own making":                   shown(forged(t, "spiffe://default/web")),
		"one of its own making before a good one": shown(chained),
		"a good one by TLS 1.2":                   old,
	} {
		for _, from := range []*testnet.Host{s.outside, s.web.Host} {
			for _, address := range at("8080") {
				if answer := call(from, address, cfg, get); strings.Contains(answer, served) || strings.Contains(answer, "HTTP/") {
					t.Errorf("%s, with the certificate: %s, from %s: %q", address, name, from.Name, answer)
				}
			}
		}
	}
	t.Run("who may call cannot be somebody else", func(t *testing.T) {
		for _, head := range []string{"By=spiffe://default/api;URI=spiffe://default/admin", "URI=spiffe://default/admin"} {
			answer := call(s.outside, at("8080")[0], good, strings.Replace(get, "Host:", "X-Forwarded-Client-Cert: "+head+"\r\nX-Kuma-Tags: &kuma.io/service=admin&\r\nX-Envoy-Internal: true\r\nHost:", 1))
			if !strings.Contains(answer, served) || strings.Contains(answer, "admin") || strings.Contains(answer, "x-envoy-internal") || !strings.Contains(answer, "URI=spiffe://default/web") {
				t.Errorf("the service saw %q", answer)
			}
		}
	})
}

// withdrawal has a caller keep the connection that a permission opened, while
// the permission goes.
func (s *siege) withdrawal(t *testing.T) {
	raw := s.outside.Dial(t, "tcp", s.api.IP4.String()+":8080")
	shown := pair(t, s.web, "workload")
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return shown, nil }})
	answers := bufio.NewReader(c)
	ask := func() error {
		_ = raw.SetDeadline(time.Now().Add(3 * time.Second))
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: api.mesh\r\n\r\n"); err != nil {
			return err
		}
		r, err := http.ReadResponse(answers, nil)
		if err != nil {
			return err
		}
		defer r.Body.Close()
		_, err = io.Copy(io.Discard, r.Body)
		return err
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	s.Ctl(t, "delete", "traffic-permission", "web-to-api")
	testmesh.Eventually(t, "the open connection is ended", func() error {
		if ask() == nil {
			return errors.New("it is answered still")
		}
		return nil
	})
}

// nobody runs a program on a host as a user without rights.
func nobody(t *testing.T, h *testnet.Host, name string, args ...string) (string, error) {
	t.Helper()
	return h.TryRun(t, "setpriv", append([]string{"--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all", name}, args...)...)
}

// users lets a user without rights on web's host do what he can.
func (s *siege) users(t *testing.T) {
	open(t, s.web.Dir, 0o711) // the folders beneath must do
	run, state := filepath.Join(s.web.Dir, "run"), filepath.Join(s.web.Dir, "state")
	pid := fmt.Sprint(s.web.AgentProgram().PID())
	envoy := fmt.Sprint(s.web.Status(t).Envoy.PID)
	const python = "/usr/bin/python3"
	mark := "import socket; socket.socket().setsockopt(socket.SOL_SOCKET, 36, 0x1000)"
	for _, tt := range []struct {
		name string
		args []string
		word string // of the refusal
	}{
		{"list the state", []string{"ls", state}, "denied"},
		{"read the agent's key", []string{"cat", filepath.Join(state, "agent.pem")}, "denied"},
		{"read the workload's key", []string{"cat", filepath.Join(state, "workload.pem")}, "denied"},
		{"read the configuration", []string{"cat", s.web.Config()}, "denied"},
		{"read the bootstrap", []string{"cat", filepath.Join(run, "bootstrap.json")}, "denied"},
		{"read the agent's environment", []string{"cat", "/proc/" + pid + "/environ"}, "denied"},
		{"read the agent's memory", []string{"cat", "/proc/" + pid + "/mem"}, "denied"},
		{"read Envoy's memory", []string{"cat", "/proc/" + envoy + "/mem"}, "denied"},
		{"call Envoy's admin", []string{"curl", "-sS", "--unix-socket", filepath.Join(run, "envoy", "admin.sock"), "http://x/certs"}, "(7)"},
		{"call the agent's status", []string{"curl", "-sS", "--unix-socket", filepath.Join(run, "status.sock"), "http://x/status"}, "(7)"},
		{"call the relay", []string{"curl", "-sS", "--unix-socket", filepath.Join(run, "xds.sock"), "--http2-prior-knowledge", "http://x/"}, "(7)"},
		{"Envoy's admin by TCP", []string{"curl", "-sS", "--max-time", "2", "http://127.0.0.1:9901/"}, "(7)"},
		{"mark a socket as the proxy's", []string{python, "-c", mark}, "PermissionError"},
		{"flush the rules", []string{"nft", "flush", "ruleset"}, "not permitted"},
		{"end the agent", []string{"kill", "-9", pid}, "not permitted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := nobody(t, s.web.Host, tt.args[0], tt.args[1:]...)
			if err == nil || !strings.Contains(out, tt.word) {
				t.Errorf("error %v, output %.300q", err, out)
			}
		})
	}
	if _, err := s.web.TryRun(t, python, "-c", mark); err != nil {
		t.Error("root cannot mark a socket: the probe probes nothing")
	}
	t.Run("sockets whose folder was opened", func(t *testing.T) {
		open(t, run, 0o711)
		open(t, filepath.Join(run, "xds.sock"), 0o666)
		out, err := nobody(t, s.web.Host, "curl", "-sS", "--max-time", "3", "--unix-socket", filepath.Join(run, "xds.sock"), "--http2-prior-knowledge",
			"-H", "content-type: application/grpc", "-X", "POST", "http://x/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets")
		if err == nil {
			t.Errorf("the relay listened to another user: %q", out)
		}
	})
	t.Run("noise at the DNS port", func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		c := s.web.Dial(t, "udp", "127.0.0.1:15053")
		head := "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x03api\x04mesh\x00\x00\x01\x00\x01"
		for i := range 3000 {
			b := make([]byte, random.IntN(600))
			for j := range b {
				b[j] = byte(random.Uint32())
			}
			if i%2 == 0 { // nearly right
				b = append([]byte(head), b[:min(len(b), 40)]...)
				b[random.IntN(len(b))] ^= byte(1 << random.IntN(8))
			}
			_, _ = c.Write(b)
		}
		for _, text := range []string{"", "\x00", "\xff\xff", "\x00\x05abcde", strings.Repeat("\x00\x00", 1000)} {
			if tcp, err := s.web.TryDial("tcp", "127.0.0.1:15053"); err == nil {
				_, _ = io.WriteString(tcp, text)
				_ = tcp.Close()
			}
		}
		s.web.WaitAnswer(t, "http://api.mesh/")
	})
	if st := s.web.Status(t); !st.Well || fmt.Sprint(st.Envoy.PID) != envoy {
		t.Errorf("the host is not as it was: %+v", st)
	}
}
