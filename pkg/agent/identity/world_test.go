package identity

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/cp/ca"
	"github.com/weft-mesh/weft/pkg/cp/host"
	"github.com/weft-mesh/weft/pkg/cp/store/memory"
	"github.com/weft-mesh/weft/pkg/cp/token"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// A world is a real control plane's side of hosts on loopback, with the meshes
// default (mTLS) and plain, and one log for it and its hosts.
type world struct {
	store   *memory.Store
	tokens  *token.Issuer
	own     *ca.Own
	meshes  *ca.Meshes
	address string
	log     *buffer
	sees    atomic.Bool // the control plane reaches its store

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

func (w *world) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type buffer struct {
	mu   sync.Mutex
	b    bytes.Buffer
	told chan<- struct{}
}

// notify sends for each line from now on, as long as there is room.
func (b *buffer) notify(c chan<- struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told = c
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.told <- struct{}{}:
	default:
	}
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{store: memory.New(), now: time.Now(), log: new(buffer)}
	w.tokens = &token.Issuer{Store: w.store, Now: w.clock}
	w.meshes = &ca.Meshes{Store: w.store, Now: w.clock}
	w.own = authority(t, w.clock)
	mtls := &mesh.MeshSpec{MTLS: &mesh.MTLS{EnabledBackend: "ca-1", Backends: []mesh.MTLSBackend{{Name: "ca-1", Type: "builtin"}}}}
	for name, spec := range map[string]*mesh.MeshSpec{"default": mtls, "plain": {}} {
		_, err := w.store.Put(t.Context(), mesh.Resource{Kind: mesh.MeshKind, Meta: mesh.Meta{Name: name}, Spec: spec})
		must(t, err)
		must(t, w.tokens.Ensure(t.Context(), name))
		must(t, w.meshes.Ensure(t.Context(), name, spec))
	}
	auth := &host.Auth{Sources: host.Sources{Store: w.store, Tokens: w.tokens}, Trusts: w.own.Trusts, Now: w.clock, Log: w.logger()}
	server := grpc.NewServer(auth.ServerOptions(credentials.NewTLS(host.TLSConfig(w.own, w.clock)))...)
	host.Mount(server, &host.Service{
		Auth: auth, Decode: api.DecodeAs, Put: w.store.Put, Delete: w.store.Delete, Own: w.own, Meshes: w.meshes, Log: w.logger(),
		Sees: func(context.Context) bool { return w.sees.Load() },
	})
	w.address = serve(t, server)
	return w
}

func authority(t *testing.T, now func() time.Time) *ca.Own {
	t.Helper()
	own, err := ca.OpenOwn(t.Context(), t.TempDir(), ca.OwnOptions{
		Store: memory.New(), Now: now, Log: slog.New(slog.DiscardHandler), Addresses: func() ([]string, error) { return nil, nil },
	})
	must(t, err)
	return own
}

func serve(t *testing.T, s *grpc.Server) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "0.0.0.0:0")
	must(t, err)
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return fmt.Sprintf("127.0.0.1:%d", l.Addr().(*net.TCPAddr).Port)
}

// options are for a join at w that succeeds.
func (w *world) options(t *testing.T, c token.Claims) JoinOptions {
	t.Helper()
	if c.Mesh == "" {
		c.Mesh = "default"
	}
	raw, err := w.tokens.Issue(t.Context(), c, time.Hour)
	must(t, err)
	return JoinOptions{
		Addresses: []string{w.address}, Authority: w.own.Fingerprint(), Token: raw, Dataplane: doc(c.Mesh, "web-1", "web"),
		Dir: filepath.Join(t.TempDir(), "state"), Now: w.clock, Log: w.logger(),
	}
}

// joined is a host that has joined and is opened.
func (w *world) joined(t *testing.T, c token.Claims) *Identity {
	t.Helper()
	o := w.options(t, c)
	join(t, o)
	return w.open(t, o.Dir)
}

func join(t *testing.T, o JoinOptions) *Identity {
	t.Helper()
	i, err := Join(t.Context(), o)
	must(t, err)
	return i
}

func (w *world) open(t *testing.T, dir string) *Identity {
	t.Helper()
	i, err := Open(dir, w.logger())
	must(t, err)
	i.Addresses, i.Now, i.Log = []string{w.address}, w.clock, w.logger()
	return i
}

func register(t *testing.T, i *Identity, dataplane []byte) error {
	t.Helper()
	conn, err := i.Dial(t.Context())
	must(t, err)
	defer conn.Close()
	return i.Register(t.Context(), conn, dataplane)
}

func doc(meshName, name, service string) []byte {
	return fmt.Appendf(nil, `{"type":"Dataplane","mesh":%q,"name":%q,"networking":{"address":"192.0.2.1","inbound":[{"port":8080,"tags":{"kuma.io/service":%q}}]}}`, meshName, name, service)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// emptyMessage is one without fields.
type emptyMessage = hostv1.LeaveResponse
