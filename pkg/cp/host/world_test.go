package host_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/cp/ca"
	"github.com/weft-mesh/weft/pkg/cp/host"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/memory"
	"github.com/weft-mesh/weft/pkg/cp/token"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// A world is a control plane's side of hosts, served over TLS on loopback, with
// the meshes default (mTLS) and plain (none).
type world struct {
	store   *memory.Store
	tokens  *token.Issuer
	own     *ca.Own
	auth    *host.Auth
	service *host.Service
	server  *grpc.Server
	address string
	log     *buffer

	mu  sync.Mutex
	now time.Time
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{store: memory.New(), now: time.Now(), log: new(buffer)}
	log := slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.tokens = &token.Issuer{Store: w.store, Now: w.clock}
	var err error
	w.own, err = ca.OpenOwn(t.Context(), t.TempDir(), ca.OwnOptions{Now: w.clock, Log: log})
	must(t, err)
	meshes := &ca.Meshes{Store: w.store, Now: w.clock}
	mtls := &mesh.MeshSpec{MTLS: &mesh.MTLS{EnabledBackend: "ca-1", Backends: []mesh.MTLSBackend{{Name: "ca-1", Type: "builtin"}}}}
	for name, spec := range map[string]*mesh.MeshSpec{"default": mtls, "plain": {}} {
		w.put(t, mesh.Resource{Kind: mesh.MeshKind, Meta: mesh.Meta{Name: name}, Spec: spec})
		must(t, w.tokens.Ensure(t.Context(), name))
		must(t, meshes.Ensure(t.Context(), name, spec))
	}
	w.auth = &host.Auth{Sources: host.Sources{Store: w.store, Tokens: w.tokens}, Now: w.clock, Log: log}
	w.service = &host.Service{
		Auth: w.auth, Decode: api.DecodeAs, Put: w.store.Put, Delete: w.store.Delete,
		Own: w.own, Meshes: meshes, Log: log,
	}
	w.server = grpc.NewServer(w.auth.ServerOptions(credentials.NewTLS(host.TLSConfig(w.own, w.clock)))...)
	host.Mount(w.server, w.service)
	w.server.RegisterService(&adsDesc, w.auth)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	w.address = l.Addr().String()
	go w.server.Serve(l)
	t.Cleanup(w.server.Stop)
	return w
}

// adsDesc stands for the aggregated discovery service: its streams authenticate
// the proxy that metadata "claim" names and end.
var adsDesc = grpc.ServiceDesc{
	ServiceName: "envoy.service.discovery.v3.AggregatedDiscoveryService",
	HandlerType: (*any)(nil),
	Streams: []grpc.StreamDesc{
		{StreamName: "StreamAggregatedResources", Handler: claim, ServerStreams: true, ClientStreams: true},
		{StreamName: "DeltaAggregatedResources", Handler: claim, ServerStreams: true, ClientStreams: true},
	},
}

func claim(srv any, s grpc.ServerStream) error {
	md, _ := metadata.FromIncomingContext(s.Context())
	m, name, _ := strings.Cut(md.Get("claim")[0], ".")
	err := srv.(*host.Auth).Proxy(s.Context(), proxy.ID{Mesh: m, Name: name})
	if err != nil || len(md.Get("stay")) == 0 {
		return err
	}
	if err := s.SendMsg(new(hostv1.LeaveResponse)); err != nil {
		return err
	}
	<-s.Context().Done()
	return nil
}

func secretsNamed(part string) store.Query {
	return store.Query{Kind: mesh.SecretKind, Mesh: "default", Name: part}
}

// certificate is what the control plane made of a key.
func certificate(t testing.TB, key *ecdsa.PrivateKey, text []byte) *tls.Certificate {
	t.Helper()
	block, _ := pem.Decode(text)
	leaf, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

func (w *world) put(t testing.TB, r mesh.Resource) {
	t.Helper()
	if old, err := w.store.Get(t.Context(), r.Key()); err == nil {
		r.Meta.Version = old.Meta.Version
	}
	_, err := w.store.Put(t.Context(), r)
	must(t, err)
}

func (w *world) dataplane(t *testing.T, id proxy.ID) *mesh.Resource {
	t.Helper()
	r, err := w.store.Get(t.Context(), mesh.Key{Kind: "Dataplane", Mesh: id.Mesh, Name: id.Name})
	if err != nil {
		return nil
	}
	return &r
}

// client dials; cert may be nil.
func (w *world) client(t testing.TB, cert *tls.Certificate) *grpc.ClientConn {
	t.Helper()
	cfg := &tls.Config{RootCAs: w.own.Pool(), ServerName: "127.0.0.1", Time: w.clock}
	if cert != nil {
		// Shown whatever the server asks for.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	conn, err := grpc.NewClient("passthrough:///"+w.address, grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

func (w *world) token(t testing.TB, c token.Claims) string {
	t.Helper()
	if c.Mesh == "" {
		c.Mesh = "default"
	}
	raw, err := w.tokens.Issue(t.Context(), c, time.Hour)
	must(t, err)
	return raw
}

// join spends raw for the certificate of an agent.
func (w *world) join(t testing.TB, raw string, doc []byte) (*tls.Certificate, error) {
	t.Helper()
	key, csr := request(t)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", raw)
	resp, err := hostv1.NewHostClient(w.client(t, nil)).Join(ctx, &hostv1.JoinRequest{Dataplane: doc, Csr: csr})
	if err != nil {
		return nil, err
	}
	return certificate(t, key, resp.GetCertificate()), nil
}

func (w *world) agent(t testing.TB, raw string, doc []byte) *tls.Certificate {
	t.Helper()
	cert, err := w.join(t, raw, doc)
	must(t, err)
	return cert
}

func (w *world) register(t *testing.T, cert *tls.Certificate, doc []byte) (*hostv1.RegisterResponse, error) {
	t.Helper()
	_, csr := request(t)
	return hostv1.NewHostClient(w.client(t, cert)).Register(t.Context(), &hostv1.RegisterRequest{Dataplane: doc, Csr: csr})
}

// stream opens an ADS stream as id and returns how it ended.
func (w *world) stream(t *testing.T, conn *grpc.ClientConn, raw, id string) error {
	t.Helper()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "claim", id)
	if raw != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", raw)
	}
	for _, d := range adsDesc.Streams {
		s, err := conn.NewStream(ctx, &d, "/"+adsDesc.ServiceName+"/"+d.StreamName)
		if err == nil {
			err = s.RecvMsg(new(hostv1.LeaveResponse))
		}
		if err != nil && err.Error() != "EOF" {
			return err
		}
	}
	return nil
}

func request(t testing.TB) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	must(t, err)
	return key, csr
}

// doc is a Dataplane's document with one inbound per service.
func doc(meshName, name string, services ...string) []byte {
	var in []string
	for n, s := range services {
		in = append(in, fmt.Sprintf(`{"port":%d,"tags":{"kuma.io/service":%q,"team":"a"}}`, 8080+n, s))
	}
	return fmt.Appendf(nil, `{"type":"Dataplane","mesh":%q,"name":%q,"networking":{"address":"192.0.2.1","inbound":[%s]}}`, meshName, name, strings.Join(in, ","))
}

func service(values ...string) map[string][]string {
	return map[string][]string{"kuma.io/service": values}
}

func wantCode(t *testing.T, err error, code codes.Code, words ...string) {
	t.Helper()
	if status.Code(err) != code {
		t.Errorf("error %v, want %s", err, code)
	}
	if err == nil {
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q lacks %q", err, w)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
