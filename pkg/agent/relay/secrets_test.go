package relay

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"

	"github.com/weft-mesh/weft/pkg/proxy"
)

const (
	identityName = "identity_cert:secret:default"
	rootsName    = "mesh_ca:secret:default"
)

// A lockedBuffer collects a log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func openSecrets[Req, Res any](t *testing.T, conn *grpc.ClientConn, method string) (*grpc.GenericClientStream[Req, Res], chan *Res) {
	t.Helper()
	desc := &grpc.StreamDesc{StreamName: method, ServerStreams: true, ClientStreams: true}
	cs, err := conn.NewStream(t.Context(), desc, "/"+sdsService.ServiceName+"/"+method, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	s := &grpc.GenericClientStream[Req, Res]{ClientStream: cs}
	in := make(chan *Res, 10)
	go func() {
		for {
			resp, err := s.Recv()
			if err != nil {
				close(in)
				return
			}
			in <- resp
		}
	}()
	return s, in
}

func take[T any](t *testing.T, in chan T) (v T) {
	t.Helper()
	var ok bool
	select {
	case v, ok = <-in:
		if !ok {
			t.Fatal("stream ended")
		}
	case <-time.After(patience):
		t.Fatal("nothing came")
	}
	return v
}

func TestSecrets(t *testing.T) {
	var log lockedBuffer
	g := newRig(t, newCP(t), func(c *Config) {
		c.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	conn := g.connect()
	send, in := openSecrets[deltaRequest, deltaResponse](t, conn, "DeltaSecrets")
	if err := send.Send(&deltaRequest{ResourceNamesSubscribe: []string{identityName, rootsName, "identity_cert:secret:other"}}); err != nil {
		t.Fatal(err)
	}
	// Nothing yet; then what there is, of our mesh alone.
	g.secrets.put(SecretSet{Version: "1", Certificate: []byte("cert-1"), Key: []byte("KEY-1"), Roots: []byte("roots-1")})
	resp := take(t, in)
	if len(resp.Resources) != 2 {
		t.Fatalf("%d secrets, want 2", len(resp.Resources))
	}
	var id, roots tlsv3.Secret
	if err := resp.Resources[0].Resource.UnmarshalTo(&id); err != nil {
		t.Fatal(err)
	}
	if err := resp.Resources[1].Resource.UnmarshalTo(&roots); err != nil {
		t.Fatal(err)
	}
	cert := id.GetTlsCertificate()
	if string(cert.GetCertificateChain().GetInlineBytes()) != "cert-1" || string(cert.GetPrivateKey().GetInlineBytes()) != "KEY-1" {
		t.Errorf("identity: %v", &id)
	}
	if string(roots.GetValidationContext().GetTrustedCa().GetInlineBytes()) != "roots-1" {
		t.Errorf("roots: %v", &roots)
	}

	// Twice renewed before Envoy answers: it gets the newest, once it has.
	g.secrets.put(SecretSet{Version: "2", Certificate: []byte("cert-2"), Key: []byte("KEY-2"), Roots: []byte("roots-2")})
	g.secrets.put(SecretSet{Version: "3", Certificate: []byte("cert-3"), Key: []byte("KEY-3"), Roots: []byte("roots-3")})
	if err := send.Send(&deltaRequest{ResponseNonce: resp.Nonce}); err != nil {
		t.Fatal(err)
	}
	resp = take(t, in)
	if resp.Resources[0].Version != "3" {
		t.Errorf("version %s, want 3", resp.Resources[0].Version)
	}
	if err := send.Send(&deltaRequest{ResponseNonce: resp.Nonce, ErrorDetail: errorDetail("no good")}); err != nil {
		t.Fatal(err)
	}
	g.secrets.wait(t, "refusal in status", func() bool {
		time.AfterFunc(5*time.Millisecond, g.secrets.tell)
		s := g.Status().Secrets
		return s == SecretsStatus{Version: "3", Accepted: "1", LastRefusal: "no good"}
	})

	// The other dialect.
	sotw, all := openSecrets[discoveryv3.DiscoveryRequest, discoveryv3.DiscoveryResponse](t, conn, "StreamSecrets")
	if err := sotw.Send(&discoveryv3.DiscoveryRequest{ResourceNames: []string{rootsName}}); err != nil {
		t.Fatal(err)
	}
	first := take(t, all)
	if first.VersionInfo != "3" || len(first.Resources) != 1 {
		t.Fatalf("got %v", first)
	}
	if err := sotw.Send(&discoveryv3.DiscoveryRequest{ResourceNames: []string{rootsName}, VersionInfo: "3", ResponseNonce: first.Nonce}); err != nil {
		t.Fatal(err)
	}
	g.secrets.put(SecretSet{Version: "4", Certificate: []byte("cert-4"), Key: []byte("KEY-4"), Roots: []byte("roots-4")})
	if next := take(t, all); next.VersionInfo != "4" {
		t.Errorf("version %s, want 4", next.VersionInfo)
	}
	if resp := take(t, in); resp.Resources[0].Version != "4" {
		t.Errorf("version %s after a refusal, want 4", resp.Resources[0].Version)
	}
	if strings.Contains(log.String(), "KEY") {
		t.Errorf("a key is in the log:\n%s", log.String())
	}
}

// Synced waits for secrets that were asked for.
func TestSyncedWaitsForSecrets(t *testing.T) {
	cp := newCP(t)
	cp.set(clusters, "a=1")
	cp.set(listeners, "in=1")
	cp.set(endpoints, "m1=m")
	g := newRig(t, cp)
	send, in := openSecrets[deltaRequest, deltaResponse](t, g.connect(), "DeltaSecrets")
	if err := send.Send(&deltaRequest{ResourceNamesSubscribe: []string{identityName}}); err != nil {
		t.Fatal(err)
	}
	cp.wait(t, "the relay to hear of it", func() bool {
		cp.tellSoon()
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.sds.waiting == 1
	})
	e := g.envoy()
	e.ask(clusters)
	e.take("clusters a=1")
	e.ask(listeners)
	e.take("listeners in=1")
	e.quiet("m1")
	select {
	case <-g.Synced():
		t.Fatal("synced without the secret")
	default:
	}
	g.secrets.put(SecretSet{Version: "1", Certificate: []byte("c"), Key: []byte("k"), Roots: []byte("r")})
	if err := send.Send(&deltaRequest{ResponseNonce: take(t, in).Nonce}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-g.Synced():
	case <-time.After(patience):
		t.Fatal("not synced")
	}
}

// What only the host's owner could provide holds nobody up.
func TestNobodyWaitsForWhatTheHostLacks(t *testing.T) {
	for _, name := range []string{proxy.SystemRoots, proxy.MetricsSecret} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, newCP(t))
			send, in := openSecrets[deltaRequest, deltaResponse](t, g.connect(), "DeltaSecrets")
			if err := send.Send(&deltaRequest{ResourceNamesSubscribe: []string{name}}); err != nil {
				t.Fatal(err)
			}
			waiting := func(want int) func() bool {
				return func() bool {
					time.AfterFunc(5*time.Millisecond, g.secrets.tell)
					g.mu.Lock()
					defer g.mu.Unlock()
					return g.sds.waiting == want
				}
			}
			g.secrets.wait(t, "the relay to wait for any secret", waiting(1))
			g.secrets.put(SecretSet{Version: "1", Certificate: []byte("c"), Key: []byte("k"), Roots: []byte("r")})
			g.secrets.wait(t, "it to wait no more", waiting(0))
			g.secrets.put(SecretSet{Version: "2", SystemRoots: []byte("s"), MetricsCertificate: []byte("mc"), MetricsKey: []byte("mk")})
			resp := take(t, in)
			if len(resp.Resources) != 1 || resp.Resources[0].Name != name || resp.Resources[0].Version != "2" {
				t.Errorf("got %v", resp)
			}
		})
	}
}
