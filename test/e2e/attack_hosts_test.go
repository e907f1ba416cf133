//go:build linux

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"github.com/weft-mesh/weft/internal/fakeenvoy"
	"github.com/weft-mesh/weft/internal/testmesh"
	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/internal/testtime"
	"github.com/weft-mesh/weft/pkg/api/hostv1"
)

func dialer(from *testnet.Host) func(context.Context, string, string) (net.Conn, error) {
	return func(_ context.Context, network, address string) (net.Conn, error) {
		c, err := from.TryDial(network, address)
		if err != nil {
			return nil, err
		}
		return c, nil
	}
}

// connect speaks with the hosts' port from outside, showing cert, which may be
// nil.
func (s *siege) connect(t *testing.T, cert *tls.Certificate) *grpc.ClientConn {
	t.Helper()
	cfg := &tls.Config{InsecureSkipVerify: true} // an attacker believes anybody
	if cert != nil {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	dial := dialer(s.outside)
	conn, err := grpc.NewClient("passthrough:///"+s.CP.IP4.String()+":5678",
		grpc.WithTransportCredentials(credentials.NewTLS(cfg)),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) { return dial(ctx, "tcp", address) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func withToken(ctx context.Context, raw string) context.Context {
	if raw == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", raw)
}

// pair is one of a host's certificates with its key.
func pair(t *testing.T, h *testmesh.Host, name string) *tls.Certificate {
	t.Helper()
	dir := filepath.Join(h.Dir, "state")
	both := []byte(read(t, dir, name+".pem"))
	c, err := tls.X509KeyPair(both, both)
	if err != nil {
		t.Fatal(err)
	}
	return &c
}

// forged is a certificate that its bearer signed himself.
func forged(t *testing.T, uri string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), URIs: []*url.URL{u},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// hosts calls every method that is there, or might be, with every credential
// that is not good for it.
func (s *siege) hosts(t *testing.T) {
	const ads = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
	methods := []string{
		"/weft.host.v1.Host/Join", "/weft.host.v1.Host/Register", "/weft.host.v1.Host/Leave",
		ads + "StreamAggregatedResources", ads + "DeltaAggregatedResources", ads + "FetchAggregatedResources",
		"/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets", "/envoy.service.secret.v3.SecretDiscoveryService/FetchSecrets",
		"/envoy.service.cluster.v3.ClusterDiscoveryService/FetchClusters", "/envoy.service.endpoint.v3.EndpointDiscoveryService/DeltaEndpoints",
		"/envoy.service.status.v3.ClientStatusDiscoveryService/FetchClientStatus",
		"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/grpc.health.v1.Health/Check", "/grpc.channelz.v1.Channelz/GetServers",
	}
	strangers := []struct {
		name  string
		cert  *tls.Certificate
		token string
	}{
		{"nothing", nil, ""},
		{"a word", nil, "admin"},
		{"the admin token", nil, s.admin},
		{"a token that nobody signed", nil, unsigned(t, s.tokens["web"])},
		{"the signature of another token", nil, mixed(s.tokens["web"], s.tokens["db"])},
		{"a certificate of its own making", forged(t, "weft://default/dataplane/web-1"), ""},
		{"a workload's certificate", pair(t, s.web, "workload"), ""},
	}
	for _, who := range strangers {
		conn := s.connect(t, who.cert)
		for _, method := range methods {
			ctx, cancel := context.WithTimeout(withToken(t.Context(), who.token), testtime.Wait)
			stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method)
			if err == nil {
				_ = stream.SendMsg(&discoveryv3.DeltaDiscoveryRequest{Node: &corev3.Node{Id: "default.web-1"}, TypeUrl: fakeenvoy.Clusters})
				err = stream.RecvMsg(new(discoveryv3.DeltaDiscoveryResponse))
			}
			switch {
			case err == nil:
				t.Errorf("%s with %s was answered", method, who.name)
			case ctx.Err() != nil:
				t.Errorf("%s with %s was not refused in time", method, who.name)
			}
			cancel()
		}
	}
	own := pair(t, s.web, "agent")
	for _, tt := range []struct {
		name, node, token, typeURL, word string
		cert                             *tls.Certificate
		names                            []string
	}{
		{"another's configuration by certificate", "default.api-1", "", fakeenvoy.Clusters, "joined as", own, nil},
		{"another mesh's by certificate", "second.web-1", "", fakeenvoy.Clusters, "joined as", own, nil},
		{"another's configuration by token", "default.api-1", s.tokens["db"], fakeenvoy.Clusters, "db-1", nil, nil},
		{"another service's by a token without a name", "default.api-1", s.tokens["web"], fakeenvoy.Clusters, "allowed is", nil, nil},
		{"another mesh's by token", "default.web-1", s.tokens["second"], fakeenvoy.Clusters, "of mesh", nil, nil},
		{"a certificate and somebody else's token", "default.api-1", s.tokens["api"], fakeenvoy.Clusters, "joined as", own, nil},
		{"no node", "", s.tokens["web"], fakeenvoy.Clusters, "node id", nil, nil},
		{"runtime", "default.web-1", "", "type.googleapis.com/envoy.service.runtime.v3.Runtime", "not served", own, nil},
		{"a type of nobody's", "default.web-1", "", "x", "not served", own, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := fakeenvoy.Open(t, s.connect(t, tt.cert), fakeenvoy.Options{Node: tt.node, Token: tt.token, Bare: true})
			c.Ask(tt.typeURL, tt.names...)
			if err := c.WaitEnd(t); err == nil || !strings.Contains(err.Error(), tt.word) {
				t.Errorf("ended with %v, want a refusal with %q", err, tt.word)
			}
		})
	}
	t.Run("secrets that its clusters do not name", func(t *testing.T) {
		const secrets = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
		c := fakeenvoy.Open(t, s.connect(t, own), fakeenvoy.Options{Node: "default.web-1", Bare: true})
		c.Ask(secrets, "identity_cert:secret:default", "mesh_ca:secret:default", "default.ca-builtin-key-ca-1", "external:pay:client", "*")
		c.Ask(fakeenvoy.Endpoints, "api")
		st := c.Wait(t, "endpoints", func(st fakeenvoy.State) bool { _, ok := st.Endpoints("api"); return ok })
		if len(st.Resources[secrets]) > 0 {
			t.Errorf("it was told %v", st.Names(secrets))
		}
	})
	t.Run("endpoints of another mesh", func(t *testing.T) {
		c := fakeenvoy.Open(t, s.connect(t, own), fakeenvoy.Options{Node: "default.web-1", Bare: true})
		c.Ask(fakeenvoy.Endpoints, "vault", "second/vault", "second.vault", "*", "api")
		st := c.Wait(t, "the endpoints of its own mesh", func(st fakeenvoy.State) bool { _, ok := st.Endpoints("api"); return ok })
		if strings.Contains(st.String(), "192.0.2.77") {
			t.Errorf("it was told:\n%s", st)
		}
	})
}

// unsigned says what a token says, by the algorithm "none".
func unsigned(t *testing.T, token string) string {
	t.Helper()
	head, err := json.Marshal(map[string]string{"alg": "none", "kid": "1"})
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(head) + "." + strings.Split(token, ".")[1] + "."
}

func mixed(claims, signature string) string {
	return claims[:strings.LastIndex(claims, ".")] + signature[strings.LastIndex(signature, "."):]
}

// hold begins calls with a message of 4 MB that does not end.
func (s *siege) hold(t *testing.T, token string, calls int) {
	t.Helper()
	conn := s.connect(t, nil)
	for range calls {
		ctx, cancel := context.WithTimeout(withToken(t.Context(), token), testtime.Wait)
		stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, "/weft.host.v1.Host/Join")
		if err == nil {
			_ = stream.SendMsg(&hostv1.JoinRequest{Dataplane: make([]byte, 4<<20-100)})
			// The end of the stream is not sent: only a refusal answers.
			if err = stream.RecvMsg(new(hostv1.JoinResponse)); ctx.Err() != nil {
				t.Error("a stranger's call was held")
			}
		}
		cancel()
		if err == nil {
			t.Error("a stranger's call was answered")
		}
	}
}

func document(mesh, name, service, more string) []byte {
	return fmt.Appendf(nil, `{"type":"Dataplane","mesh":%q,"name":%q,"networking":{"address":"192.0.2.66","inbound":[{"port":8080,"tags":{"kuma.io/service":%q}}%s]}}`, mesh, name, service, more)
}

// request is a key, and a request to certify it that wishes for everything.
func request(t *testing.T) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	one, _ := url.Parse("spiffe://default/api")
	two, _ := url.Parse("weft://default/dataplane/api-1")
	ca, err := asn1.Marshal(struct{ IsCA bool }{true})
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "api"}, URIs: []*url.URL{one, two},
		DNSNames: []string{"*", "weft-cp", "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: ca}},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	return key, csr
}

// enrol joins and registers as an agent would, always of the same machine, and
// returns both certificates.
func (s *siege) enrol(t *testing.T, token string, doc []byte) (agent, workload *tls.Certificate, err error) {
	t.Helper()
	ctx := metadata.AppendToOutgoingContext(t.Context(), hostv1.MachineHeader, "siege")
	key, csr := request(t)
	joined, err := hostv1.NewHostClient(s.connect(t, nil)).Join(withToken(ctx, token), &hostv1.JoinRequest{Dataplane: doc, Csr: csr})
	if err != nil {
		return nil, nil, err
	}
	agent = certificate(t, joined.GetCertificate(), key)
	key, csr = request(t)
	registered, err := hostv1.NewHostClient(s.connect(t, agent)).Register(ctx, &hostv1.RegisterRequest{Dataplane: doc, Csr: csr})
	if err != nil {
		return agent, nil, err
	}
	return agent, certificate(t, registered.GetCertificate(), key), nil
}

func certificate(t *testing.T, text []byte, key *ecdsa.PrivateKey) *tls.Certificate {
	t.Helper()
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatal("no certificate came")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key, Leaf: leaf}
}

// identities has hosts with good credentials reach for what is another's.
func (s *siege) identities(t *testing.T) {
	claims := []struct {
		name, token string
		doc         []byte
	}{
		{"another service", "db", document("default", "db-1", "api", "")},
		{"another service beside its own", "db", document("default", "db-1", "db", `,{"port":81,"tags":{"kuma.io/service":"api"}}`)},
		{"another name", "db", document("default", "api-1", "db", "")},
		{"another mesh", "db", document("second", "db-1", "db", "")},
		{"two meshes", "db", []byte(strings.Replace(string(document("default", "db-1", "db", "")), `"mesh":"default"`, `"mesh":"default","MESH":"second"`, 1))},
		{"another's dataplane, by a token without a name", "web", document("default", "api-1", "web", "")},
		{"every service", "db", document("default", "db-1", "*", "")},
		{"a path for a name", "web", document("default", "../api-1", "web", "")},
		{"a line of the log for a name", "web", document("default", "x\nlevel=ERROR", "web", "")},
		{"a URI within a tag", "db", document("default", "db-1", "db", `,{"port":81,"tags":{"kuma.io/service":"db","x":"y?a=b#c"}}`)},
	}
	for _, tt := range claims {
		t.Run(tt.name, func(t *testing.T) {
			if _, workload, err := s.enrol(t, s.tokens[tt.token], tt.doc); err == nil {
				t.Errorf("it got a certificate for %s", workload.Leaf.URIs)
			}
		})
	}
	if out := s.Ctl(t, "get", "dataplane", "api-1", "-o", "yaml"); strings.Contains(out, "192.0.2.66") {
		t.Errorf("api's dataplane was replaced:\n%s", out)
	}
	agent, workload, err := s.enrol(t, s.tokens["db"], document("default", "db-1", "db", ""))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*x509.Certificate{"agent's": agent.Leaf, "workload's": workload.Leaf} {
		if c.IsCA || len(c.DNSNames)+len(c.IPAddresses) > 0 || c.Subject.CommonName != "" || strings.Contains(fmt.Sprint(c.URIs), "api") {
			t.Errorf("the %s certificate fulfils wishes: CA %t, %s %s %s %s", name, c.IsCA, c.Subject, c.URIs, c.DNSNames, c.IPAddresses)
		}
	}
	if _, err := agent.Leaf.Verify(x509.VerifyOptions{Roots: pool(agent), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err == nil {
		t.Error("an agent could pass for the control plane")
	}
	t.Logf("F24: seed none, joins as somebody else %d, let in 0; another's document replaced 0", len(claims))
}

func pool(c *tls.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(c.Leaf)
	return p
}

// revocation ends what a token has opened, at once and for good.
func (s *siege) revocation(t *testing.T) {
	doc := document("default", "gone-1", "gone", "")
	agent, _, err := s.enrol(t, s.tokens["gone"], doc)
	if err != nil {
		t.Fatal(err)
	}
	byCert := fakeenvoy.Open(t, s.connect(t, agent), fakeenvoy.Options{Node: "default.gone-1"})
	byToken := fakeenvoy.Open(t, s.connect(t, nil), fakeenvoy.Options{Node: "default.gone-1", Token: s.tokens["gone"]})
	for _, c := range []*fakeenvoy.Client{byCert, byToken} {
		c.Wait(t, "its configuration", func(st fakeenvoy.State) bool { return len(st.Resources[fakeenvoy.Listeners]) > 0 })
	}
	var claims struct{ JTI string }
	body, err := base64.RawURLEncoding.DecodeString(strings.Split(s.tokens["gone"], ".")[1])
	if err == nil {
		err = json.Unmarshal(body, &claims)
	}
	if err != nil || claims.JTI == "" {
		t.Fatalf("the token has no id: %v", err)
	}
	watch := testtime.Start(t)
	s.Apply(t, fmt.Sprintf("type: Secret\nmesh: default\nname: dataplane-token-revocations-default\ndata: %s\n", base64.StdEncoding.EncodeToString([]byte(claims.JTI))))
	for _, c := range []*fakeenvoy.Client{byCert, byToken} {
		if err := c.WaitEnd(t); err == nil || !strings.Contains(err.Error(), "revoked") {
			t.Errorf("ended with %v", err)
		}
	}
	took := watch.Took()
	if took > 5*time.Second {
		t.Errorf("revocation took %s", took)
	}
	t.Logf("F23: seed none, a token revoked: open streams 2, all ended after %s", took.Round(time.Millisecond))
	if _, _, err := s.enrol(t, s.tokens["gone"], doc); err == nil {
		t.Error("the revoked token joins")
	}
	_, csr := request(t)
	if _, err := hostv1.NewHostClient(s.connect(t, agent)).Register(t.Context(), &hostv1.RegisterRequest{Dataplane: doc, Csr: csr}); err == nil {
		t.Error("the certificate of the revoked token registers")
	}
	if out, err := s.web.Agent(t, "status"); err != nil {
		t.Errorf("another host suffered: %s", out)
	}
}
