// Package publish is the loop that joins snapshot, plan, render and stream.
//
// It follows the store, keeps the newest state, and sees to it that every
// connected proxy has what that state means for it. Endpoints go ahead in a
// lane of their own; a proxy is planned anew only when something that its plan
// read is different.
package publish

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/cp/plan"
	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/xds"
	"github.com/weft-mesh/weft/pkg/envoy/render"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// A Store is what is followed.
type Store interface {
	Get(ctx context.Context, k mesh.Key) (mesh.Resource, error)
	List(ctx context.Context, q store.Query) (store.Page, error)
	Watch(ctx context.Context, from mesh.Version) (<-chan store.Change, error)
}

// A Stream is where everything goes. *xds.Server is one.
type Stream interface {
	// ConnectedSince lists the proxies that have a stream, unless it is the same
	// ones as when it said moved; 0 was never said.
	ConnectedSince(moved uint64) (ids []proxy.ID, now uint64)
	Encode(parts []render.Part, secrets []render.Resource) (*xds.Bundle, error)
	Publish(id proxy.ID, b *xds.Bundle)
	PublishEndpoints(mesh string, changed []render.Resource, gone, left []string) error
	PublishNames(mesh string, t *hostv1.NameTable) error
	Drop(id proxy.ID, reason error)
	Judge(mesh string)
	Status(id proxy.ID) (xds.Status, bool)
}

// Config is what a Publisher needs. The functions have defaults: the stages
// themselves, and the host's resolver.
type Config struct {
	Store  Store
	Stream Stream
	Plan   func(v *snapshot.View, name string) (*proxy.Config, []plan.Warning)
	Render func(c *proxy.Config) []render.Part
	// ReadFile reads a file that a resource names; nil: there are none.
	ReadFile func(path string) ([]byte, error)
	// Resolver finds one address for a host name. It should give the same one
	// as long as that is right.
	Resolver func(ctx context.Context, host string) (netip.Addr, error)
	Log      *slog.Logger
}

// coalesce is how long changes are gathered after one that went out at once.
const coalesce = 100 * time.Millisecond

// A Publisher holds the newest state and brings it to the proxies.
type Publisher struct {
	store   Store
	stream  Stream
	plan    func(v *snapshot.View, name string) (*proxy.Config, []plan.Warning)
	render  func(c *proxy.Config) []render.Part
	resolve func(ctx context.Context, host string) (netip.Addr, error)
	vault   *vault
	log     *slog.Logger
	metrics metrics

	state atomic.Pointer[snapshot.State]
	mu    sync.Mutex
	moved chan struct{} // closed when state is replaced, and when told is
	told  mesh.Version  // of the state that every lane holds, see Abreast
	begun atomic.Int64  // version of the state that is being published

	versions  map[mesh.Key]mesh.Version   // what state was made of; of follow alone
	clusters  map[service]map[string]bool // published assignments; of follow alone
	hashes    map[string]string           // the newest of files; of follow alone
	names     map[string]namesOf          // by mesh: of which the names were published
	resolved  map[string]netip.Addr       // the newest of hosts; of follow alone
	records   records
	fileNames chan []string          // to read
	files     chan map[string]string // hashes of what was read
	readFile  func(path string) ([]byte, error)
	planning  chan struct{}              // as many as may plan at once
	dirty     chan time.Time             // since when proxies may be stale
	hostNames chan []string              // to resolve
	hosts     chan map[string]netip.Addr // resolved
}

// New returns a Publisher that Run puts to work.
func New(c Config) *Publisher {
	p := &Publisher{
		store: c.Store, stream: c.Stream, plan: c.Plan, render: c.Render, resolve: c.Resolver,
		log: cmp.Or(c.Log, slog.Default()), metrics: newMetrics(),
		moved:    make(chan struct{}),
		records:  newRecords(),
		versions: map[mesh.Key]mesh.Version{}, clusters: map[service]map[string]bool{},
		names:     map[string]namesOf{},
		planning:  make(chan struct{}, runtime.GOMAXPROCS(0)),
		dirty:     make(chan time.Time, 1),
		hostNames: make(chan []string, 1),
		hosts:     make(chan map[string]netip.Addr, 1),
		fileNames: make(chan []string, 1),
		files:     make(chan map[string]string, 1),
		vault:     newVault(), readFile: c.ReadFile,
	}
	if p.plan == nil {
		p.plan = plan.For
	}
	if p.render == nil {
		p.render = render.Parts
	}
	if p.readFile == nil {
		p.readFile = FilesUnder("")
	}
	if p.resolve == nil {
		p.resolve = lookup
	}
	return p
}

// Run publishes until ctx ends. Trouble with the store is logged and retried:
// proxies keep what they have meanwhile.
func (p *Publisher) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.follow(ctx) })
	g.Go(func() error { return p.pushing(ctx) })
	g.Go(func() error { return p.resolving(ctx) })
	g.Go(func() error { return p.reading(ctx) })
	return g.Wait()
}

// State returns the newest state; nil until the store was read.
func (p *Publisher) State() *snapshot.State { return p.state.Load() }

// Ready tells whether the store was read.
func (p *Publisher) Ready() bool { return p.State() != nil }

// WaitReady returns when the store was read, or ctx has ended.
func (p *Publisher) WaitReady(ctx context.Context) {
	for {
		p.mu.Lock()
		moved := p.moved
		p.mu.Unlock()
		if p.Ready() {
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
}

// Metrics are for a prometheus registry.
func (p *Publisher) Metrics() []prometheus.Collector { return p.metrics.all() }

// patience is how long Recent waits for the newest state.
const patience = 3 * coalesce

// Recent returns a state that holds what the store holds now; where that takes
// too long, or the store does not answer, the one that is at hand. It fails
// only as long as the store was never read.
func (p *Publisher) Recent(ctx context.Context) (*snapshot.State, error) {
	if _, err := p.await(ctx, 0); err != nil {
		return nil, fmt.Errorf("wait for the store to be read: %w", err)
	}
	soon, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// Any list tells the store's version.
	page, err := p.store.List(soon, store.Query{Kind: mesh.MeshKind, Size: 1})
	if err != nil {
		return p.State(), nil
	}
	if s, err := p.await(soon, page.At); err == nil {
		return s, nil
	}
	return p.State(), nil
}

// Online tells whether the proxy of a dataplane is connected.
func (p *Publisher) Online(meshName, name string) bool {
	_, ok := p.stream.Status(proxy.ID{Mesh: meshName, Name: name})
	return ok
}

// swap makes s the newest state and wakes whoever waits for one.
func (p *Publisher) swap(s *snapshot.State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.Store(s)
	close(p.moved)
	p.moved = make(chan struct{})
}

// await returns a state that holds everything up to version.
func (p *Publisher) await(ctx context.Context, version mesh.Version) (*snapshot.State, error) {
	for {
		p.mu.Lock()
		s, moved := p.state.Load(), p.moved
		p.mu.Unlock()
		if s != nil && s.Version() >= version {
			return s, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// offer puts v into ch (capacity 1), replacing what nobody has taken yet. One
// sender only.
func offer[T any](ch chan T, v T) {
	select {
	case <-ch:
	default:
	}
	ch <- v
}
