package render_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	secretv3 "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	cachev3 "github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	serverv3 "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"

	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/pkg/envoy"
	"github.com/weft-mesh/weft/pkg/envoy/bootstrap"
	"github.com/weft-mesh/weft/pkg/envoy/render"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// An authority signs certificates of a mesh.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert: cert, key: key}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// certificate is one that carries the URIs.
func (a *authority) certificate(t *testing.T, uris ...string) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, uri := range uris {
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		template.URIs = append(template.URIs, u)
	}
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// secrets are what the agent would give by SDS.
func (a *authority) secrets(t *testing.T, mesh string, c tls.Certificate) []types.Resource {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, der []byte) *corev3.DataSource {
		return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{
			InlineBytes: pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}),
		}}
	}
	return []types.Resource{
		&tlsv3.Secret{Name: proxy.IdentitySecret(mesh), Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
			CertificateChain: text("CERTIFICATE", c.Certificate[0]), PrivateKey: text("PRIVATE KEY", key),
		}}},
		&tlsv3.Secret{Name: proxy.RootsSecret(mesh), Type: &tlsv3.Secret_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
			TrustedCa: text("CERTIFICATE", a.cert.Raw),
		}}},
	}
}

// runEnvoy runs a real Envoy by the plan, from our bootstrap, with ADS and SDS
// over unix sockets, and waits until it is ready.
func runEnvoy(t *testing.T, c *proxy.Config, endpoints []proxy.Endpoints, secrets []types.Resource) *envoy.Admin {
	t.Helper()
	dir := envoytest.Dir(t)
	socket := filepath.Join(dir, "xds.sock")
	serve(t, socket, c, endpoints, secrets)

	cfg := envoy.Config{
		Binary: envoytest.Binary(t), Dir: dir,
		AdminSocket: filepath.Join(dir, "admin.sock"), Concurrency: 1, DrainTime: -1,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	text, err := bootstrap.JSON(bootstrap.Config{ID: c.ID, XDSSocket: socket, SDSSocket: socket, AdminSocket: cfg.AdminSocket})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Bootstrap = envoy.Fixed(text)
	process := envoy.New(cfg)
	done := make(chan error, 1)
	go func() { done <- process.Run(context.Background()) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := process.Stop(ctx); err != nil {
			t.Errorf("stop Envoy: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("run Envoy: %v", err)
		}
	})
	admin := envoy.NewAdmin(cfg.AdminSocket)
	within(t, time.Minute, func() error { return admin.Ready(t.Context()) })
	stats, err := admin.Stats(t.Context(), `update_rejected$|listener_create_success`)
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range stats {
		if n > 0 && name != "listener_manager.listener_create_success" {
			t.Fatalf("%s is %d: Envoy refused what was rendered", name, n)
		}
	}
	return admin
}

// serve serves what is rendered of c on a unix socket.
func serve(t *testing.T, socket string, c *proxy.Config, endpoints []proxy.Endpoints, secrets []types.Resource) {
	t.Helper()
	b := mustRender(t, c)
	messages := func(rs []render.Resource) (ms []types.Resource) {
		for _, r := range rs {
			ms = append(ms, r.Message)
		}
		return ms
	}
	var assignments []types.Resource
	for _, e := range endpoints {
		assignments = append(assignments, render.Endpoints(e))
	}
	snapshot, err := cachev3.NewSnapshot("1", map[resourcev3.Type][]types.Resource{
		resourcev3.ListenerType: messages(b.Listeners),
		resourcev3.ClusterType:  messages(b.Clusters),
		resourcev3.RouteType:    messages(b.Routes),
		resourcev3.EndpointType: assignments,
		resourcev3.SecretType:   secrets,
	})
	if err != nil {
		t.Fatal(err)
	}
	cache := cachev3.NewSnapshotCache(false, cachev3.IDHash{}, nil)
	if err := cache.SetSnapshot(t.Context(), c.ID.String(), snapshot); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	xds := serverv3.NewServer(context.Background(), cache, nil)
	s := grpc.NewServer()
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(s, xds)
	secretv3.RegisterSecretDiscoveryServiceServer(s, xds)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
}

// ownAddress is a loopback address that no other test has, so that fixed ports
// can be used on it.
func ownAddress(t *testing.T) netip.Addr {
	t.Helper()
	for range 100 {
		at := netip.AddrFrom4([4]byte{127, byte(1 + mrand.IntN(250)), byte(mrand.IntN(256)), byte(1 + mrand.IntN(250))})
		l, err := net.Listen("tcp", netip.AddrPortFrom(at, 7999).String())
		if err != nil {
			continue
		}
		t.Cleanup(func() { _ = l.Close() }) // holds the address
		return at
	}
	t.Fatal("no loopback address is free")
	return netip.Addr{}
}

// within waits until check holds.
func within(t *testing.T, d time.Duration, check func() error) {
	t.Helper()
	deadline := time.After(d)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after %s still: %v", d, fmt.Errorf("%w", err))
		}
	}
}
