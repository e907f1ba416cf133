//go:build linux

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testmesh"
	"github.com/weft-mesh/weft/internal/testnet"
)

// An issuer signs certificates of a world outside of the mesh.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newIssuer(t *testing.T, name string) *issuer {
	t.Helper()
	i := &issuer{}
	i.cert, i.key, i.pem, _ = i.issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return i
}

// issue signs a certificate, the first one itself.
func (i *issuer) issue(t *testing.T, c *x509.Certificate) (cert *x509.Certificate, key *ecdsa.PrivateKey, certPEM, keyPEM string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := i.cert, i.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key,
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
}

// An outsider is a TLS server that knows nothing of the mesh. It asks for a
// client's certificate and tells what it saw.
type outsider struct {
	*testnet.Host
	calls atomic.Int64
}

type seen struct {
	Server, SNI, Client, Host, Tags string
}

func (o *outsider) serve(t *testing.T, address, name string, ca *issuer) {
	t.Helper()
	cert, key, _, _ := ca.issue(t, &x509.Certificate{DNSNames: []string{name}})
	clients := x509.NewCertPool()
	clients.AddCert(ca.cert)
	s := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}},
			ClientAuth:   tls.VerifyClientCertIfGiven, ClientCAs: clients, MinVersion: tls.VersionTLS12,
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			o.calls.Add(1)
			w.Header().Set("Connection", "close") // each call shakes hands anew
			saw := seen{Server: o.Name, SNI: r.TLS.ServerName, Host: r.Host, Tags: r.Header.Get("x-kuma-tags")}
			if len(r.TLS.PeerCertificates) > 0 {
				saw.Client = r.TLS.PeerCertificates[0].Subject.CommonName
			}
			_ = json.NewEncoder(w).Encode(saw)
		}),
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	l := o.Listen(t, address)
	done := make(chan error, 1)
	go func() { done <- s.ServeTLS(l.TCPListener, "", "") }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve on %s: %v", o.Name, err)
		}
	})
}

func secretOf(name, text string) string {
	return fmt.Sprintf("type: Secret\nmesh: default\nname: %s\ndata: %s\n---\n", name, base64.StdEncoding.EncodeToString([]byte(text)))
}

// external is an ExternalService "pay" with more of its networking.
func external(name, address, more string) string {
	return fmt.Sprintf("type: ExternalService\nmesh: default\nname: %s\nnetworking:\n  address: %s\n%stags: {kuma.io/service: pay, kuma.io/protocol: http}\n---\n", name, address, more)
}

// TestExternalService walks through all that a service outside can be.
func TestExternalService(t *testing.T) {
	ca, other := newIssuer(t, "outside"), newIssuer(t, "somebody else")
	_, _, cert, key := ca.issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "the web"}})
	roots := filepath.Join(t.TempDir(), "roots.pem")
	files := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(roots, ca.pem)
	write(filepath.Join(files, "ca.pem"), ca.pem)

	m := testmesh.New(t, "--resource-files", files)
	pay, pay2 := &outsider{Host: m.Net.Host("pay")}, &outsider{Host: m.Net.Host("pay2")}
	testmesh.ServeNames(t, m.CP, map[string]netip.Addr{"pay.example.com": pay.IP4, "pay2.example.com": pay2.IP4})
	pay.serve(t, "0.0.0.0:8443", "pay.example.com", ca)
	pay2.serve(t, "0.0.0.0:8443", "pay2.example.com", ca)
	web := m.Join(t, "web", "--system-roots", roots)
	m.Allow(t, "web", "pay")

	whole := t // programs that a step starts outlive it
	const url = "http://pay.example.com:8443/"
	call := func(t *testing.T, url string) (s seen) {
		t.Helper()
		if err := json.Unmarshal([]byte(web.WaitAnswer(t, url)), &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	refused := func(t *testing.T, url string) {
		t.Helper()
		testmesh.Eventually(t, "the call is refused", func() error {
			if code, body, _ := web.Curl(t, url); code != "503" {
				return fmt.Errorf("code %s: %s", code, body)
			}
			return nil
		})
	}
	plan := func(t *testing.T) string {
		t.Helper()
		return m.Ctl(t, "inspect", "dataplane", "web-1", "--stage", "plan")
	}
	tls := func(more string) string { return "  tls: {enabled: true" + more + "}\n" }
	withCert := tls(", caCert: {inlineString: " + fmt.Sprintf("%q", ca.pem) + "}, clientCert: {secret: web-cert}, clientKey: {secret: web-key}")

	t.Run("by its own name over TLS", func(t *testing.T) {
		m.Apply(t, secretOf("web-cert", cert)+secretOf("web-key", key)+external("pay", "pay.example.com:8443", withCert))
		want := seen{Server: "pay", SNI: "pay.example.com", Client: "the web", Host: "pay.example.com"}
		for _, url := range []string{url, "http://pay.example.com/", "http://pay.mesh/", "http://pay.mesh:8443/"} {
			testmesh.Eventually(t, url+" goes through the mesh", func() error {
				code, body, err := web.Curl(t, url)
				var got seen
				if err != nil || code != "200" {
					return fmt.Errorf("code %s, %w, %s", code, err, body)
				}
				if err := json.Unmarshal([]byte(body), &got); err != nil {
					return err
				}
				if got.Host, _, _ = strings.Cut(got.Host, ":"); got != want {
					return fmt.Errorf("the server saw %+v, want %+v", got, want)
				}
				return nil
			})
		}
		if at := web.Resolve(t, "pay.example.com"); !netip.MustParsePrefix("240.0.0.0/4").Contains(at) {
			t.Errorf("pay.example.com is %s on the host", at)
		}
	})
	t.Run("nobody is told the key", func(t *testing.T) {
		for _, stage := range []string{"plan", "render", "stream"} {
			out := m.Ctl(t, "inspect", "dataplane", "web-1", "--stage", stage)
			if strings.Contains(out, "PRIVATE KEY") || strings.Contains(out, strings.Split(key, "\n")[1]) {
				t.Errorf("stage %s shows the key", stage)
			}
			if stage != "stream" && !strings.Contains(out, "external:pay:client") {
				t.Errorf("stage %s does not name the secret:\n%s", stage, out)
			}
		}
		if strings.Contains(m.ControlPlane().Output(), strings.Split(key, "\n")[1]) {
			t.Error("the control plane's log has the key")
		}
	})
	t.Run("changes cost no request", func(t *testing.T) {
		load := testmesh.StartLoad(t, web.Transport(t, "pay.example.com"), url, 100)
		_, _, cert2, key2 := ca.issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "the web, later"}})
		m.Apply(t, secretOf("web-cert", cert2)+secretOf("web-key", key2))
		testmesh.Eventually(t, "the new certificate is shown", func() error {
			if got := call(t, "http://pay.mesh/"); got.Client != "the web, later" {
				return fmt.Errorf("the server saw %+v", got)
			}
			return nil
		})
		m.Apply(t, external("pay-2", "pay2.example.com:8443", withCert))
		testmesh.Eventually(t, "both servers are called", func() error {
			if pay2.calls.Load() == 0 {
				return errors.New("the second one is not")
			}
			return nil
		})
		m.Apply(t, external("pay", "pay.example.com:8443", tls(", caCert: {file: "+files+"/ca.pem}, clientCert: {secret: web-cert}, clientKey: {secret: web-key}")))
		testmesh.Eventually(t, "the file is read", func() error {
			if out := plan(t); !strings.Contains(out, "file: "+files) || strings.Contains(out, "cannot read") {
				return errors.New(out)
			}
			return nil
		})
		m.Ctl(t, "delete", "external-service", "pay-2")
		testmesh.Eventually(t, "the second server is left", func() error {
			if out := plan(t); strings.Contains(out, "pay2.example.com") {
				return errors.New(out)
			}
			return nil
		})
		if got := load.Stop(); len(got) != 1 || got["200"] < 20 {
			t.Errorf("answers %v", got)
		} else {
			t.Logf("%d requests, none failed", got["200"])
		}
	})
	t.Run("a certificate of somebody else's is refused", func(t *testing.T) {
		m.Apply(t, external("pay", "pay.example.com:8443", tls(", caCert: {inlineString: "+fmt.Sprintf("%q", other.pem)+"}")))
		refused(t, url)
	})
	t.Run("the host's own authorities count where none are named", func(t *testing.T) {
		m.Apply(t, external("pay", "pay.example.com:8443", tls("")))
		if got := call(t, url); got.Client != "" || got.SNI != "pay.example.com" {
			t.Errorf("the server saw %+v", got)
		}
	})
	t.Run("another name is refused", func(t *testing.T) {
		m.Apply(t, external("pay", "pay.example.com:8443", tls(", serverName: wrong.example.com")))
		refused(t, url)
	})
	t.Run("unless any will do", func(t *testing.T) {
		m.Apply(t, external("pay", "pay.example.com:8443", tls(", serverName: wrong.example.com, skipHostnameVerification: true")))
		if got := call(t, url); got.SNI != "wrong.example.com" {
			t.Errorf("the server saw %+v", got)
		}
	})
	t.Run("a secret that is not there is told, and all else goes on", func(t *testing.T) {
		m.Apply(t, external("pay", "pay.example.com:8443", tls(", caCert: {secret: nowhere}")))
		refused(t, url)
		m.Apply(t, external("pay-2", "pay2.example.com:8443", tls("")))
		if got := call(t, url); got.Server != "pay2" {
			t.Errorf("answered by %+v", got)
		}
		if out := plan(t); !strings.Contains(out, `there is no Secret "nowhere"`) {
			t.Errorf("the plan does not tell:\n%s", out)
		}
		testmesh.Eventually(t, "the overview of all tells, too", func() error { return inOverview(t, m, "web-1", `there is no Secret "nowhere"`) })
		m.Apply(t, secretOf("nowhere", "no certificate"))
		testmesh.Eventually(t, "a secret that is none is told", func() error {
			if out := plan(t); !strings.Contains(out, "there is no certificate in it") {
				return errors.New(out)
			}
			return nil
		})
		m.Ctl(t, "delete", "external-service", "pay-2")
	})
	t.Run("nobody is let out without a permission", func(t *testing.T) {
		m.Apply(t, external("pay", "pay.example.com:8443", tls("")))
		call(t, url)
		m.Ctl(t, "delete", "traffic-permission", "web-to-pay")
		refused(t, url)
		m.Allow(t, "web", "pay")
		call(t, url)
	})
	t.Run("its host keeps its own address where it is told so", func(t *testing.T) {
		m.Apply(t, external("pay", "pay.example.com:8443", tls("")+"  disableHostDNSEntry: true\n"))
		testmesh.Eventually(t, "the host's own address", func() error {
			if at := web.Resolve(t, "pay.example.com"); at != pay.IP4 {
				return fmt.Errorf("it is %s", at)
			}
			return nil
		})
		call(t, "http://pay.mesh/")
	})
	t.Run("without passthrough only what is known is called", func(t *testing.T) {
		plain := m.Net.Host("stranger")
		testmesh.Serve(t, plain, "0.0.0.0:9999", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
		strangers := fmt.Sprintf("http://%s:9999/", plain.IP4)
		web.WaitAnswer(t, strangers)
		m.Apply(t, external("pay", "pay.example.com:8443", tls("")))
		testmesh.Eventually(t, "the name is the mesh's", func() error {
			if at := web.Resolve(t, "pay.example.com"); at == pay.IP4 {
				return errors.New("it is not")
			}
			return nil
		})
		tr := web.Transport(t, "pay.example.com")
		load := testmesh.StartLoad(t, tr, url, 100)
		spec := "type: Mesh\nname: default\nmtls: {enabledBackend: ca-1, backends: [{name: ca-1, type: builtin}]}\nnetworking: {outbound: {passthrough: %t}}\n"
		m.Apply(t, fmt.Sprintf(spec, false))
		testmesh.Eventually(t, "strangers are blocked", func() error {
			if _, _, err := web.Curl(t, strangers); err == nil {
				return errors.New("one answered")
			}
			return nil
		})
		m.Apply(t, fmt.Sprintf(spec, true))
		web.WaitAnswer(t, strangers)
		for _, got := range []testmesh.Answers{testmesh.Call(t, tr, url, 50), load.Stop()} {
			if len(got) != 1 || got["200"] == 0 {
				t.Errorf("answers %v", got)
			}
		}
	})
	t.Run("a host that starts while no control plane answers has its secrets", func(t *testing.T) {
		m.Apply(t, external("pay", "pay.example.com:8443", withCert))
		testmesh.Eventually(t, "the certificate is shown", func() error {
			if got := call(t, url); got.Client == "" {
				return errors.New("it is not")
			}
			return nil
		})
		m.StopControlPlane(t)
		web.AgentProgram().Stop(t) // which keeps what Envoy has
		web.StartAgent(whole)
		testmesh.Eventually(t, "the host is redirected", func() error {
			if out := web.AgentProgram().Output(); !strings.Contains(out, "traffic redirected") {
				return errors.New(out)
			}
			return nil
		})
		if got := call(t, url); got.Client != "the web, later" {
			t.Errorf("the server saw %+v", got)
		}
		m.StartControlPlane(whole)
		web.WaitWell(t)
	})
	t.Run("deleted it is called as any stranger", func(t *testing.T) {
		m.Ctl(t, "delete", "external-service", "pay")
		testmesh.Eventually(t, "the host's own address", func() error {
			if at := web.Resolve(t, "pay.example.com"); at != pay.IP4 {
				return fmt.Errorf("it is %s", at)
			}
			return nil
		})
	})
}
