// Package relay carries xDS between the control plane and Envoy, and gives
// Envoy its certificates.
//
// Both sides end here: Envoy dials a unix socket and keeps its stream whatever
// becomes of the control plane; the relay dials the control plane, asks ahead
// of Envoy for what every Envoy asks for, and holds what it was given. What is
// held is a table, a value that knows no stream and no clock; the goroutines
// around it only carry its messages. Resources are opaque: the relay compares
// names and versions, and reads of what Envoy is told where a cluster's
// endpoints are and how the workload is probed.
package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// ErrInUse is wrapped by Run's error when somebody listens on the socket.
var ErrInUse = errors.New("already in use")

// Config says what a Relay joins. Log, UIDs, Metadata, CacheDir and what begins
// with On may be left out.
type Config struct {
	// Socket is the path of the unix socket that Envoy dials, for ADS and SDS.
	// Its folder is made with mode 0700; one that is there already must not be
	// open to anybody but its owner.
	Socket string
	// ID is the proxy: its String is the node id that the control plane sees.
	ID proxy.ID
	// Metadata is asked on every stream and sent with the node id.
	Metadata func() *structpb.Struct
	// Dial returns a connection to the control plane; the relay closes it. It
	// is called for every attempt, so that it can choose another address and
	// present a renewed certificate. opts must be passed on: they carry the
	// keepalive by which a dead connection is noticed.
	Dial func(ctx context.Context, opts ...grpc.DialOption) (*grpc.ClientConn, error)
	// Secrets are what Envoy gets by SDS.
	Secrets Secrets
	// UIDs may use the socket beside root and the agent's own user; it belongs to
	// the first of them. See GiveTo.
	UIDs []uint32
	// OnNames is called with every new table of names, one call at a time.
	OnNames func([]proxy.Name)
	// OnProbes is called with how the workload at each port is to be asked
	// whether it can be called, one call at a time: at the start with what is on
	// disk, which may be nothing, and with every change.
	OnProbes func(map[uint16]proxy.Probe)
	// OnTrust is called with whom the mesh trusts, in PEM, and returns once that
	// is in force.
	OnTrust func(roots []byte) error
	// OnIssuer is called with the authority that should have signed the
	// workload's certificate, as the SHA-256 of its SubjectPublicKeyInfo in hex,
	// and over how long hosts spread that need another. done is to be called
	// once it has, unless another call came since.
	OnIssuer func(authority string, spread time.Duration, done func())
	// OnQuestion answers what the control plane asks about Envoy, one question
	// at a time. What it fails with is told instead; nil: nothing is answered.
	OnQuestion func(ctx context.Context, q *hostv1.Question, to io.Writer) error
	// OnControlPlane is called with whom to take for the control plane, in PEM,
	// and the authority that should have signed the agent's certificate, as
	// OnIssuer is. done is to be called once both is so.
	OnControlPlane func(authorities []byte, issuer string, spread time.Duration, done func()) error
	// OnControlPlanes is called with where control planes are, host:port, when that
	// has changed while a stream is open.
	OnControlPlanes func(addresses []string)
	// OnLook is to look for a control plane that reaches its store, within spread
	// and some, and tells whether the next Dial leads to one.
	OnLook func(ctx context.Context, spread time.Duration) bool
	// OnLost is called with why a stream to the control plane ended.
	OnLost func(error)
	// CacheDir is the folder in which the relay keeps what Envoy accepted, to
	// begin with it when no control plane answers. It is made with mode 0700.
	// "": nothing is kept.
	CacheDir string
	Log      *slog.Logger

	// Tests cannot wait as long as hosts can. 0: saveAfter, proof.
	saveAfter, proof time.Duration
	// envoy tells the process at the other end of a stream. Envoys of tests are
	// all of one.
	envoy func(context.Context) string
}

// Secrets is where the host's certificates come from.
type Secrets interface {
	// Current returns what is in force, and a channel that is closed once that
	// has changed.
	Current() (SecretSet, <-chan struct{})
}

// A SecretSet is what Envoy proves itself and knows its peers with, as PEM.
type SecretSet struct {
	// Version differs whenever the rest differs; "" means nothing yet, and
	// Envoy waits.
	Version     string
	Certificate []byte // leaf, then chain
	Key         []byte
	Roots       []byte
	// AcceptExpired lets peers in whose certificates have expired.
	AcceptExpired bool
	// SystemRoots are whom the host itself trusts; none where it has none.
	SystemRoots []byte
	// MetricsCertificate is the host's own, with its key; none where it has none.
	MetricsCertificate []byte
	MetricsKey         []byte
}

// A Relay is one proxy's way to the control plane.
type Relay struct {
	cfg    Config
	log    *slog.Logger
	synced chan struct{}

	mu      sync.Mutex
	table   table
	up      link     // to the control plane
	down    link     // to Envoy
	session *session // the one that is Envoy; nil: none
	grace   *time.Timer
	isSync  bool
	sds     sdsState
	disk    disk
	redial  context.CancelFunc // ends the stream to the control plane; nil: none
	looking bool
	moved   time.Time // when this agent went to another control plane that it had looked for

	names      delivery[[]proxy.Name]
	probes     probes
	orders     [orderCount]order
	ordered    chan struct{} // capacity 1: there is an order to follow
	answering  chan struct{} // capacity 1: a question is being answered
	outside    outside
	opened     sync.Once
	cache      *cache // nil: nothing is kept
	cacheFault string // why that is, though it should be
	dirty      chan struct{}
	admit      sync.Mutex // one Envoy is let in at a time
}

// A link is the state of one side for its writer and for Status.
type link struct {
	id    uint64        // counts streams; 0: none yet
	open  bool          // a stream is up
	wake  chan struct{} // capacity 1: there may be something to send
	since time.Time     // when open changed
	err   string
}

// poke wakes the link's writer, if there is one. It never blocks.
func (l *link) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// New returns a Relay that does nothing until Run.
func New(cfg Config) *Relay {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.saveAfter = cmp.Or(cfg.saveAfter, saveAfter)
	cfg.proof = cmp.Or(cfg.proof, proof)
	if cfg.envoy == nil {
		cfg.envoy = processOf
	}
	r := &Relay{
		cfg:     cfg,
		log:     cfg.Log,
		synced:  make(chan struct{}),
		table:   newTable(),
		dirty:   make(chan struct{}, 1),
		ordered: make(chan struct{}, 1), answering: make(chan struct{}, 1),
	}
	r.names.wake, r.probes.wake = make(chan struct{}, 1), make(chan struct{}, 1)
	r.orders = r.newOrders()
	return r
}

// Open reads what is kept on disk and tells the names in it. Run does, where
// nobody has before. Where an Envoy runs, it listens for the hosts outside that
// were told last.
func (r *Relay) Open(runs bool) {
	r.mu.Lock()
	r.outside.kept = runs
	r.mu.Unlock()
	r.opened.Do(r.openCache)
	r.names.now(r.cfg.OnNames)
}

// Run serves Envoy and follows the control plane until ctx ends, then returns
// nil. It fails when the socket cannot be had, with ErrInUse when another
// agent has it; a control plane that does not answer is no error.
func (r *Relay) Run(ctx context.Context) error {
	if err := r.cfg.validate(); err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	r.mu.Lock()
	uids := r.cfg.UIDs
	r.mu.Unlock()
	l, err := listen(ctx, r.cfg.Socket, uids)
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	return r.run(ctx, l)
}

// run is Run at a socket that is there.
func (r *Relay) run(ctx context.Context, l net.Listener) error {
	r.opened.Do(r.openCache)
	r.mu.Lock()
	r.takeProbes()
	r.mu.Unlock()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.serve(ctx, l) })
	g.Go(func() error { r.follow(ctx); return nil })
	g.Go(func() error { r.names.run(ctx, r.cfg.OnNames); return nil })
	g.Go(func() error { r.probes.run(ctx, r.cfg.OnProbes); return nil })
	g.Go(func() error { r.followOrders(ctx); return nil })
	g.Go(func() error { r.keep(ctx); return nil })
	err := g.Wait()
	_ = r.keepNow() // the log has it
	r.mu.Lock()
	if r.grace != nil {
		r.grace.Stop()
	}
	if r.disk.trial != nil {
		r.disk.trial.Stop()
	}
	if r.outside.timer != nil {
		r.outside.timer.Stop()
	}
	r.mu.Unlock()
	return err
}

// Synced is closed once Envoy has accepted its clusters and its first listener
// and all that it had asked for by then: endpoints, routes and secrets. Its
// listeners are in force within milliseconds of that: the relay cannot see a
// secret that Envoy is yet to ask for, nor when its workers take notice.
func (r *Relay) Synced() <-chan struct{} { return r.synced }

func (c *Config) validate() error {
	var errs []error
	if c.Socket == "" {
		errs = append(errs, errors.New("no socket: give the path on which Envoy finds the relay"))
	}
	if c.ID.Mesh == "" || c.ID.Name == "" {
		errs = append(errs, fmt.Errorf("proxy id %q lacks its mesh or its name", c.ID))
	}
	if c.Dial == nil {
		errs = append(errs, errors.New("no way to dial the control plane"))
	}
	if c.Secrets == nil {
		errs = append(errs, errors.New("no source of secrets"))
	}
	return errors.Join(errs...)
}
