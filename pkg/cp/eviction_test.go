package cp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/internal/fakeenvoy"
	"github.com/weft-mesh/weft/internal/testtime"
	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// TestDeletionEndsTheStream deletes a dataplane over REST: its host's stream is
// ended with the reason, and neither a new one nor a renewal is let in. That of
// another host goes on, and what was remembered of the first is not told of the
// next by its name.
func TestDeletionEndsTheStream(t *testing.T) {
	cfg := defaults(t)
	cfg.Store, cfg.HostsAddress, cfg.APIAddress, cfg.APITLSAddress, cfg.DiagnosticsAddress = StoreMemory, "127.0.0.1:0", "", "", ""
	cfg.APISocket = filepath.Join(t.TempDir(), "api.sock")
	c, err := New(t.Context(), cfg, "1.0.0", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	people := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", cfg.APISocket)
	}}}
	ask := func(method, path, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://cp"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := people.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	join := func(name string) (*grpc.ClientConn, func() error) {
		t.Helper()
		_, token := ask("POST", "/tokens/dataplane", `{"mesh": "default", "name": "`+name+`", "validFor": "1h"}`)
		doc := []byte(`{"type":"Dataplane","mesh":"default","name":"` + name + `","networking":{"address":"192.0.2.1","inbound":[{"port":80,"tags":{"kuma.io/service":"web"}}]}}`)
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
		if err != nil {
			t.Fatal(err)
		}
		dial := func(shown ...tls.Certificate) *grpc.ClientConn {
			secure := &tls.Config{RootCAs: c.own.Pool(), ServerName: "127.0.0.1", Certificates: shown}
			conn, err := grpc.NewClient(c.doors.hosts.Addr().String(), grpc.WithTransportCredentials(credentials.NewTLS(secure)))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			return conn
		}
		joined, err := hostv1.NewHostClient(dial()).Join(metadata.AppendToOutgoingContext(t.Context(), "authorization", strings.TrimSpace(token)),
			&hostv1.JoinRequest{Dataplane: doc, Csr: csr})
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(joined.GetCertificate())
		conn := dial(tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key})
		register := func() error {
			_, err := hostv1.NewHostClient(conn).Register(t.Context(), &hostv1.RegisterRequest{Dataplane: doc, Csr: csr})
			return err
		}
		if err := register(); err != nil {
			t.Fatal(err)
		}
		return conn, register
	}
	conn, register := join("web-1")
	stay, _ := join("web-2")
	gone := fakeenvoy.Open(t, conn, fakeenvoy.Options{Node: "default.web-1"})
	fakeenvoy.Open(t, stay, fakeenvoy.Options{Node: "default.web-2"})
	connected := func(name string) {
		t.Helper()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for limit := time.After(testtime.Wait); ; {
			var doc struct{ DataplaneInsight mesh.DataplaneInsight }
			_, text := ask("GET", "/meshes/default/dataplanes/"+name+"/_overview", "")
			if json.Unmarshal([]byte(text), &doc) == nil && doc.DataplaneInsight.Connected() {
				return
			}
			select {
			case <-tick.C:
			case <-limit:
				t.Fatalf("%s is not connected: %s", name, text)
			}
		}
	}
	connected("web-1")
	connected("web-2")

	if code, text := ask("DELETE", "/meshes/default/dataplanes/web-1", ""); code != http.StatusOK {
		t.Fatalf("%d %s", code, text)
	}
	if err := gone.WaitEnd(t); status.Code(err) == codes.OK {
		t.Errorf("the stream of the deleted one ended with %v", err)
	}
	if err := fakeenvoy.Open(t, conn, fakeenvoy.Options{Node: "default.web-1"}).WaitEnd(t); status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), "was deleted on") {
		t.Errorf("a further stream ended with %v", err)
	}
	if err := register(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("it is registered again: %v", err)
	}
	connected("web-2")
	if c.xds.Connected()[0].Name != "web-2" || len(c.xds.Connected()) != 1 {
		t.Errorf("connected are %v", c.xds.Connected())
	}
	if code, text := ask("GET", "/meshes/default/dataplanes/web-1/_overview", ""); code != http.StatusNotFound {
		t.Errorf("the overview of the deleted one: %d %s", code, text)
	}
	join("web-1")
	if _, text := ask("GET", "/meshes/default/dataplanes/web-1/_overview", ""); strings.Contains(text, "disconnectTime") || !strings.Contains(text, `"certificateRegenerations": 1`) {
		// One of the same name is another one.
		t.Errorf("the overview of the next one: %s", text)
	}
}
