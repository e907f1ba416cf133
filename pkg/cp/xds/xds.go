// Package xds holds the streams to proxies: who is connected, what each was
// given, what it accepted.
//
// Listeners, clusters and routes are a proxy's own. Endpoints and names belong
// to a mesh: they are encoded once and handed to every stream that asked for
// them. A stream sees only what its credential names; what it says of itself
// after that changes nothing.
package xds

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/envoy/render"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// What errors given to Drop and returned by Config.Connect may wrap to choose
// the status that the proxy sees. Others become PermissionDenied from Drop and
// Unavailable from Connect; a gRPC status stays what it is.
var (
	// ErrUnknown becomes NotFound: there is no such dataplane.
	ErrUnknown = errors.New("no such dataplane")
	// ErrBroken becomes FailedPrecondition: the dataplane is there, but there
	// is no plan for it.
	ErrBroken = errors.New("cannot be planned")
)

// Limits of one stream. They are generous to Envoy and bound everybody else.
const (
	maxRequest     = 4 << 20          // bytes of one request
	maxNames       = 20_000           // resources of one type that a stream may follow
	maxStreams     = 8                // of one proxy: a reconnect meets streams that are not known dead yet
	firstRequest   = 10 * time.Second // from opening a stream to its first request
	sendTimeout    = 30 * time.Second // until a reader that does not read is left
	judgeEvery     = time.Minute      // is a stream's credential looked at again
	keepaliveTime  = 20 * time.Second // quiet before the server asks whether a peer is there: agents ask sooner
	keepaliveReply = 5 * time.Second  // so that a dead peer is known after 25 s
	// connectionAge is how long a certificate shown once is believed on one
	// connection: agents show a renewed one when they connect anew. gRPC
	// spreads it by a tenth.
	connectionAge   = 24 * time.Hour
	connectionGrace = time.Minute
	// connectionBuffer is what a connection reads and writes through, in bytes.
	// gRPC's default is eight times as much, in each direction, of which a
	// proxy that has nothing to say needs nothing.
	connectionBuffer = 4 << 10
	// connectionIdle ends connections without a call: anybody can open one.
	connectionIdle = time.Minute
)

// An Authenticator decides whether a stream is who it says. It reads the
// credential from ctx (the peer's certificate, "authorization" metadata) and
// returns an error where claimed is not what the credential allows. The error's
// words reach the peer; a gRPC status stays what it is, others become
// Unauthenticated.
type Authenticator interface {
	// Proxy is called once for a stream, before anything is sent on it.
	Proxy(ctx context.Context, claimed proxy.ID) error
	// ProxyAgain is called for an open stream, again and again.
	ProxyAgain(ctx context.Context, claimed proxy.ID) error
}

// Config is what a Server needs.
type Config struct {
	Auth Authenticator
	// Connect is called for every stream after its authentication and before
	// its first request is answered. It publishes what the proxy is to have.
	// An error ends the stream.
	Connect func(ctx context.Context, id proxy.ID) error
	// Came and Left are told of every stream that is served, and of how it was
	// when it ended; nil: nobody is.
	Came, Left func(id proxy.ID, s Status)
	// State names what is sent, in each delta response's control plane; nil:
	// nothing does.
	State func() string
	Log   *slog.Logger // nil: slog.Default
	// JudgeEvery is how often the credential of an open stream is looked at
	// again; 0 is every minute. What Judge is called for is looked at at once.
	JudgeEvery time.Duration
}

// A Server serves ADS, state of the world and delta, and nothing else.
type Server struct {
	auth    Authenticator
	connect func(ctx context.Context, id proxy.ID) error
	state   func() string
	came    func(id proxy.ID, s Status)
	left    func(id proxy.ID, s Status)
	log     *slog.Logger
	metrics metrics

	stock *stock
	pace  *pacer

	controlPlane, looks *lane

	judgeEvery time.Duration
	judging    chan struct{} // as many as may be judged at once

	mu      sync.Mutex
	proxies map[proxy.ID]*entry
	moved   uint64 // counts changes of who is in proxies
	// meshes are kept when their last resource goes: two empty caches cost
	// less than a race between a publisher and a stream that arrives.
	meshes map[string]*shared
	closed error // why no stream is taken any more
}

// New returns a server that Register puts to work.
func New(c Config) *Server {
	s := &Server{
		auth: c.Auth, connect: c.Connect, state: c.State, came: c.Came, left: c.Left, log: cmp.Or(c.Log, slog.Default()), stock: newStock(), pace: newPacer(),
		judgeEvery: cmp.Or(c.JudgeEvery, judgeEvery), judging: make(chan struct{}, runtime.GOMAXPROCS(0)),
		proxies: map[proxy.ID]*entry{}, meshes: map[string]*shared{},
		controlPlane: newLane(ControlPlaneType, false), looks: newLane(LookType, true),
	}
	s.metrics = newMetrics(func() float64 { return float64(len(s.Connected())) })
	return s
}

// Register adds the two streams of the aggregated discovery service to r: the
// only methods that there are.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(r, ads{s})
}

// ServerOptions are what a gRPC server of ten thousand agents needs: how large
// a request may be, how many streams a connection may have, when a silent peer
// is given up, how much memory a connection takes; and the codec without which
// no stream of a Server works.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(newCodec()),
		grpc.ReadBufferSize(connectionBuffer),
		grpc.WriteBufferSize(connectionBuffer),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.MaxConcurrentStreams(100),
		grpc.ConnectionTimeout(firstRequest),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: keepaliveTime, Timeout: keepaliveReply,
			MaxConnectionAge: connectionAge, MaxConnectionAgeGrace: connectionGrace,
			MaxConnectionIdle: connectionIdle,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveReply, PermitWithoutStream: true}),
	}
}

// Metrics are for a prometheus registry.
func (s *Server) Metrics() []prometheus.Collector { return s.metrics.all() }

// Connected lists the proxies that have a stream, in no order.
func (s *Server) Connected() []proxy.ID {
	ids, _ := s.ConnectedSince(0)
	return ids
}

// ConnectedSince is Connected for who asks often: moved numbers the moments at
// which any came or went, and where there was none since the one that is given,
// nothing is listed. 0 was before all.
func (s *Server) ConnectedSince(moved uint64) (ids []proxy.ID, now uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if moved == s.moved {
		return nil, moved
	}
	ids = make([]proxy.ID, 0, len(s.proxies))
	for id := range s.proxies {
		ids = append(ids, id)
	}
	return ids, s.moved
}

// Publish gives a proxy its listeners, clusters and routes. Only what differs
// goes out, in the order in which nothing is missed: clusters, listeners,
// routes, then the clusters that are no more. Every cluster with endpoints of
// its own has an assignment before it is told, an empty one if need be: Envoy
// waits for one. It does nothing for a proxy that has no stream.
func (s *Server) Publish(id proxy.ID, b *Bundle) {
	s.mu.Lock()
	e := s.proxies[id]
	s.mu.Unlock()
	if e != nil {
		e.publish(b)
	}
}

// PublishEndpoints changes the assignments of a mesh; gone and left are names of
// clusters. Of an assignment that a connected proxy still needs, one of gone
// stays, empty, and one of left as it is: it was a part of a service that is
// still there, and calls may be led to it until the proxy knows better.
// What cannot be encoded is left out and told; the others are published.
func (s *Server) PublishEndpoints(mesh string, changed []render.Resource, gone, left []string) error {
	if err := s.mesh(mesh).publish(changed, gone, left); err != nil {
		return fmt.Errorf("publish endpoints of mesh %q: %w", mesh, err)
	}
	return nil
}

// PublishNames replaces the name table of a mesh; nil removes it.
func (s *Server) PublishNames(mesh string, t *hostv1.NameTable) error {
	names := s.mesh(mesh).names
	if t == nil {
		names.update(nil, []string{NamesResource})
		return nil
	}
	it, err := s.stock.encode(NamesType, render.Resource{Name: NamesResource, Message: t})
	if err != nil {
		return fmt.Errorf("publish names of mesh %q: %w", mesh, err)
	}
	names.update([]*item{it}, nil)
	return nil
}

// Drop ends the streams of a proxy. The proxy is told why.
func (s *Server) Drop(id proxy.ID, reason error) {
	s.mu.Lock()
	var streams []*stream
	if e := s.proxies[id]; e != nil {
		streams = slices.Clone(e.streams)
	}
	s.mu.Unlock()
	for _, st := range streams {
		st.end(statusOf(reason, dropped))
	}
}

// Shutdown ends all streams and takes no new one. Proxies are told to come
// back later and keep what they have.
func (s *Server) Shutdown() {
	s.mu.Lock()
	s.closed = errStopping
	var streams []*stream
	for _, e := range s.proxies {
		streams = append(streams, e.streams...)
	}
	s.mu.Unlock()
	for _, st := range streams {
		st.end(errStopping)
	}
}

// mesh returns what the proxies of a mesh share.
func (s *Server) mesh(name string) *shared {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.meshLocked(name)
}

func (s *Server) meshLocked(name string) *shared {
	m := s.meshes[name]
	if m == nil {
		m = newShared(s.stock)
		s.meshes[name] = m
	}
	return m
}
