//go:build linux

package relay

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weft-mesh/weft/pkg/proxy"
)

func envoyBinary(t *testing.T) string {
	t.Helper()
	path := os.Getenv("ENVOY")
	if path == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		path = filepath.Join(cache, "weft", "envoy-1.40.0", "envoy")
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("no Envoy at %s: run make envoy", path)
	}
	return path
}

const bootstrap = `
dynamic_resources:
  ads_config: {api_type: DELTA_GRPC, transport_api_version: V3, set_node_on_first_message_only: true, grpc_services: [{envoy_grpc: {cluster_name: relay}}]}
  cds_config: {ads: {}, resource_api_version: V3}
  lds_config: {ads: {}, resource_api_version: V3}
node: {id: whatever, cluster: whatever}
static_resources:
  clusters:
  - name: relay
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment:
      cluster_name: relay
      endpoints: [{lb_endpoints: [{endpoint: {address: {pipe: {path: SOCKET}}}}]}]
`

// runEnvoy starts Envoy against socket and returns what ends it.
func runEnvoy(t *testing.T, socket string) (stop func()) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "envoy.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(bootstrap, "SOCKET", socket)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(envoyBinary(t), "-c", file, "--concurrency", "1", "--disable-hot-restart", "-l", "warning")
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	t.Cleanup(stop)
	return stop
}

// An issuer signs the workload's certificates of this test.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func (i *issuer) issue(t *testing.T, serial int64) SecretSet {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"api.mesh"}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, i.cert, &key.PublicKey, i.key)
	if err != nil {
		t.Fatal(err)
	}
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return SecretSet{
		Version:     fmt.Sprint(serial),
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k}),
		Roots:       i.pem,
	}
}

func resource(t *testing.T, name, version string, m proto.Message) *discoveryv3.Resource {
	t.Helper()
	return &discoveryv3.Resource{Name: name, Version: version, Resource: mustAny(t, m)}
}

func address(a *net.TCPAddr) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: a.IP.String(), PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(a.Port)}}}}
}

func overADS() *corev3.ConfigSource {
	return &corev3.ConfigSource{ResourceApiVersion: corev3.ApiVersion_V3, ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}}}
}

func overSDS() *corev3.ConfigSource {
	return &corev3.ConfigSource{ResourceApiVersion: corev3.ApiVersion_V3, ConfigSourceSpecifier: &corev3.ConfigSource_ApiConfigSource{
		ApiConfigSource: &corev3.ApiConfigSource{ApiType: corev3.ApiConfigSource_DELTA_GRPC, TransportApiVersion: corev3.ApiVersion_V3,
			GrpcServices: []*corev3.GrpcService{{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: "relay"}}}}}}}
}

func apiCluster(t *testing.T, version string, connect time.Duration, change ...func(*clusterv3.Cluster)) *discoveryv3.Resource {
	c := &clusterv3.Cluster{
		Name: "api", ConnectTimeout: durationpb.New(connect),
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig:     &clusterv3.Cluster_EdsClusterConfig{EdsConfig: overADS()},
	}
	for _, f := range change {
		f(c)
	}
	return resource(t, "api", version, c)
}

func apiEndpoints(t *testing.T, version string, s *httptest.Server) *discoveryv3.Resource {
	return resource(t, "api", version, &endpointv3.ClusterLoadAssignment{ClusterName: "api", Endpoints: []*endpointv3.LocalityLbEndpoints{{
		LbEndpoints: []*endpointv3.LbEndpoint{{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
			Address: address(s.Listener.Addr().(*net.TCPAddr))}}}}}}})
}

func apiRoutes(t *testing.T, version, prefix string) *discoveryv3.Resource {
	return resource(t, "api", version, &routev3.RouteConfiguration{Name: "api", VirtualHosts: []*routev3.VirtualHost{{Name: "api", Domains: []string{"*"},
		Routes: []*routev3.Route{{Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: prefix}},
			Action: &routev3.Route_Route{Route: &routev3.RouteAction{ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: "api"}}}}}}}})
}

func apiListener(t *testing.T, version string, at *net.TCPAddr) *discoveryv3.Resource {
	hcm := &hcmv3.HttpConnectionManager{StatPrefix: "in",
		RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{RouteConfigName: "api", ConfigSource: overADS()}},
		HttpFilters:    []*hcmv3.HttpFilter{{Name: "router", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: mustAny(t, &routerv3.Router{})}}}}
	tlsCtx := &tlsv3.DownstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{
		TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{{Name: proxy.IdentitySecret("default"), SdsConfig: overSDS()}},
		ValidationContextType: &tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig{
			ValidationContextSdsSecretConfig: &tlsv3.SdsSecretConfig{Name: proxy.RootsSecret("default"), SdsConfig: overSDS()}}}}
	return resource(t, "in", version, &listenerv3.Listener{Name: "in", Address: address(at), FilterChains: []*listenerv3.FilterChain{{
		Filters:         []*listenerv3.Filter{{Name: "hcm", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: mustAny(t, hcm)}}},
		TransportSocket: &corev3.TransportSocket{Name: "tls", ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: mustAny(t, tlsCtx)}}}}})
}

// A caller calls the listener, each time over a new connection.
type caller struct {
	t     *testing.T
	url   string
	roots *x509.CertPool
}

// call returns body and serial of the certificate, or what went wrong.
func (c *caller) call() (body, serial string) {
	client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{RootCAs: c.roots, ServerName: "api.mesh"}}}
	resp, err := client.Get(c.url)
	if err != nil {
		return err.Error(), ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error(), ""
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, b), resp.TLS.PeerCertificates[0].SerialNumber.String()
}

// until calls again and again until body and serial are as wanted.
func (c *caller) until(body, serial string) {
	c.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		b, s := c.call()
		if b == body && s == serial {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			c.t.Fatalf("answer %q with certificate %s, want %q with %s", b, s, body, serial)
		}
	}
}

func (c *caller) always(body, serial string) {
	c.t.Helper()
	for range 20 {
		if b, s := c.call(); b != body || s != serial {
			c.t.Fatalf("answer %q with certificate %s, want %q with %s", b, s, body, serial)
		}
	}
}

func TestRealEnvoy(t *testing.T) {
	backend := func(name string) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			from, _, _ := net.SplitHostPort(r.RemoteAddr)
			fmt.Fprintf(w, "%s for %s", name, from)
		}))
		t.Cleanup(s.Close)
		return s
	}
	one, two := backend("one"), backend("two")
	free, err := net.Listen("tcp", "127.7.7.3:0") // an address of its own: on 127.0.0.1 somebody else may soon have the port
	if err != nil {
		t.Fatal(err)
	}
	at := free.Addr().(*net.TCPAddr)
	_ = free.Close()

	cp := newCP(t)
	cp.put(clusterType, apiCluster(t, "1", time.Second))
	cp.put(endpointType, apiEndpoints(t, "1", one))
	cp.put(routeType, apiRoutes(t, "1", "/"))
	cp.put(listenerType, apiListener(t, "1", at))
	g := newRig(t, cp)
	ca := newIssuer(t)
	g.secrets.put(ca.issue(t, 11))
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	c := &caller{t: t, url: fmt.Sprintf("https://%s/", at), roots: roots}

	stop := runEnvoy(t, g.socket)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	select {
	case <-g.Synced():
	case <-ctx.Done():
		t.Fatalf("not synced: %+v", g.Status())
	}
	c.until("200 one for 127.0.0.1", "11")
	g.hears("listeners", "sent in=1", "ACK")

	// A new certificate.
	g.secrets.put(ca.issue(t, 12))
	c.until("200 one for 127.0.0.1", "12")

	// What Envoy refuses leaves everything as it was, and is told.
	bad := apiRoutes(t, "bad", "/")
	bad.Resource.Value = []byte{0xff, 0xff}
	cp.put(routeType, bad)
	g.hears("routes", "sent api=1", "ACK", "sent api=bad", "NACK api: "+refusedWords(t, g, routes))
	c.always("200 one for 127.0.0.1", "12")

	// The control plane goes away.
	cp.stop()
	c.always("200 one for 127.0.0.1", "12")

	// A new Envoy while it is away has what the old one had accepted.
	stop()
	runEnvoy(t, g.socket)
	c.until("200 one for 127.0.0.1", "12")

	// It is back, with a change of everything.
	cp.put(clusterType, apiCluster(t, "2", 2*time.Second))
	cp.put(endpointType, apiEndpoints(t, "2", two))
	cp.put(routeType, apiRoutes(t, "2", "/"))
	cp.forget()
	cp.start(t)
	c.until("200 two for 127.0.0.1", "12")
	g.hears("clusters", "sent api=2", "ACK")
	g.hears("listeners", "open [] claims [in=1]")

	// A cluster alone: it is in force without waiting for the 15 s that Envoy
	// would give its endpoints to come anew.
	moved := apiCluster(t, "3", time.Second, func(c *clusterv3.Cluster) {
		c.UpstreamBindConfig = &corev3.BindConfig{SourceAddress: &corev3.SocketAddress{Address: "127.0.0.7", PortSpecifier: &corev3.SocketAddress_PortValue{}}}
	})
	cp.put(clusterType, moved)
	c.until("200 two for 127.0.0.7", "12")
}

// refusedWords waits for Envoy to refuse something of kind i.
func refusedWords(t *testing.T, g *rig, i int) (words string) {
	t.Helper()
	g.cp.wait(t, "a refusal", func() bool {
		g.cp.tellSoon()
		s := g.Status().Kinds[i]
		if len(s.Refused) == 0 {
			return false
		}
		words = s.Refused[0].Words
		return true
	})
	return words
}

// TestRealEnvoyFromDisk has relay and Envoy begin anew without a control plane,
// twice, and then with one that has changed.
func TestRealEnvoyFromDisk(t *testing.T) {
	backend := func(name string) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) }))
		t.Cleanup(s.Close)
		return s
	}
	one, two := backend("one"), backend("two")
	free, err := net.Listen("tcp", "127.7.7.3:0") // an address of its own: on 127.0.0.1 somebody else may soon have the port
	if err != nil {
		t.Fatal(err)
	}
	at := free.Addr().(*net.TCPAddr)
	_ = free.Close()

	cp := newCP(t)
	cp.greet(true)
	cp.put(clusterType, apiCluster(t, "1", time.Second))
	cp.put(endpointType, apiEndpoints(t, "1", one))
	cp.put(routeType, apiRoutes(t, "1", "/"))
	cp.put(listenerType, apiListener(t, "1", at))
	ca := newIssuer(t)
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	c := &caller{t: t, url: fmt.Sprintf("https://%s/", at), roots: roots}
	dir := filepath.Join(t.TempDir(), "xds")
	start := func() (*rig, func()) {
		g := newRig(t, cp, keeping(dir))
		g.secrets.put(ca.issue(t, 11))
		end := runEnvoy(t, g.socket)
		g.waitSynced()
		return g, end
	}

	g, end := start()
	c.until("200 one", "11")
	g.stop()
	end()
	cp.stop()
	for range 2 {
		began := time.Now()
		g, end = start()
		c.until("200 one", "11")
		t.Logf("served from disk after %s", time.Since(began).Round(time.Millisecond))
		if s := g.Status().Cache; s.ServingSince.IsZero() {
			t.Errorf("status %+v", s)
		}
		c.always("200 one", "11")
		if s := g.Status(); s.ControlPlane.Connected || s.Cache.ServingSince.IsZero() {
			t.Errorf("status %+v", s)
		}
		g.stop()
		end()
	}

	g, _ = start()
	c.until("200 one", "11")
	cp.forget()
	cp.put(endpointType, apiEndpoints(t, "2", two))
	cp.start(t)
	c.until("200 two", "11")
	g.hears("clusters", "open [] claims [api=1]", "ACK")
	g.hears("endpoints", "open [api] claims [api=1]", "sent api=2", "ACK")
}
