//go:build linux

package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/internal/fakeenvoy"
	"github.com/weft-mesh/weft/internal/testmesh"
)

// hostsPort connects to the control plane's port for hosts as somebody without
// an agent does: with its CA certificate and no certificate of its own.
func hostsPort(t *testing.T, m *testmesh.Mesh) *grpc.ClientConn {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(m.Dir, "cp", "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatal("ca.crt holds no certificate")
	}
	target := fmt.Sprintf("%s:5678", m.CP.IP4)
	conn, err := grpc.NewClient("passthrough:///"+target,
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13})),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (c net.Conn, err error) {
			err = m.CP.Do(func() error {
				var d net.Dialer
				c, err = d.DialContext(ctx, "tcp", target)
				return err
			})
			return c, err
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// TestBareClients shows that an ADS client without an agent is served by a
// dataplane token, in both protocols, and by nothing else.
func TestBareClients(t *testing.T) {
	m := testmesh.New(t)
	for _, name := range []string{"web", "api"} {
		m.Apply(t, fmt.Sprintf(`type: Dataplane
mesh: default
name: %s-1
networking:
  address: 192.0.2.1
  inbound: [{port: 8080, servicePort: 8081, tags: {kuma.io/service: %s}}]
  outbound: [{port: 10080, tags: {kuma.io/service: api}}]
`, name, name))
	}
	token := func(args ...string) string {
		return strings.TrimSpace(m.Ctl(t, append([]string{"token", "dataplane", "--valid-for", "1h"}, args...)...))
	}
	web := token("--name", "web-1", "--tag", "kuma.io/service=web")
	conn := hostsPort(t, m)

	for _, world := range []bool{false, true} {
		t.Run(fmt.Sprintf("state of the world %t", world), func(t *testing.T) {
			c := fakeenvoy.Open(t, conn, fakeenvoy.Options{Node: "default.web-1", Token: web, World: world})
			state := c.Wait(t, "listeners and endpoints", func(s fakeenvoy.State) bool {
				return len(s.Names(fakeenvoy.Listeners)) == 2 && slices.Contains(s.Names(fakeenvoy.Endpoints), "api")
			})
			if got := state.Names(fakeenvoy.Listeners); !slices.Equal(got, []string{"inbound:192.0.2.1:8080", "outbound:127.0.0.1:10080"}) {
				t.Errorf("listeners %v", got)
			}
		})
	}
	refused := []struct {
		name, node, token string
		want              codes.Code
	}{
		{"no token", "default.web-1", "", codes.Unauthenticated},
		{"token of another dataplane", "default.api-1", web, codes.PermissionDenied},
		{"token of other tags", "default.api-1", token("--tag", "kuma.io/service=web"), codes.PermissionDenied},
		{"dataplane that is not there", "default.web-2", token("--tag", "kuma.io/service=web"), codes.NotFound},
		{"another mesh", "second.web-1", web, codes.Unauthenticated},
	}
	for _, tt := range refused {
		t.Run(tt.name, func(t *testing.T) {
			err := fakeenvoy.Open(t, conn, fakeenvoy.Options{Node: tt.node, Token: tt.token}).WaitEnd(t)
			if got := status.Code(err); got != tt.want {
				t.Errorf("ended with %v (%v), want %v", got, err, tt.want)
			}
		})
	}
}

// TestLoadTestMode shows --dp-auth none: no token, any dataplane.
func TestLoadTestMode(t *testing.T) {
	m := testmesh.New(t, "--dp-auth", "none")
	m.Apply(t, "type: Dataplane\nmesh: default\nname: web-1\nnetworking:\n  address: 192.0.2.1\n  inbound: [{port: 8080, servicePort: 8081, tags: {kuma.io/service: web}}]\n")
	c := fakeenvoy.Open(t, hostsPort(t, m), fakeenvoy.Options{Node: "default.web-1"})
	c.Wait(t, "a listener", func(s fakeenvoy.State) bool { return len(s.Names(fakeenvoy.Listeners)) == 1 })
}
