package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/weft-mesh/weft/pkg/agent/accesslog"
	"github.com/weft-mesh/weft/pkg/agent/dns"
	"github.com/weft-mesh/weft/pkg/agent/health"
	"github.com/weft-mesh/weft/pkg/agent/identity"
	"github.com/weft-mesh/weft/pkg/agent/metrics"
	"github.com/weft-mesh/weft/pkg/agent/relay"
	"github.com/weft-mesh/weft/pkg/envoy"
	"github.com/weft-mesh/weft/pkg/keyfile"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// A Workload is one Dataplane of this host: its identity, the relay and the
// Envoy that serve it, its logs and metrics, and the redirection that points its
// traffic there. Its files are in state and run folders of its own.
type Workload struct {
	cfg     Config                 // as it was started
	now     atomic.Pointer[Config] // with what has changed since
	version string
	log     *slog.Logger

	identity *identity.Identity
	relay    *relay.Relay
	dns      *dns.Server
	names    *early // that the dns server is, once prepared
	envoy    *envoy.Process
	user     atomic.Pointer[envoy.User] // that it runs as; nil: the agent's
	logs     *accesslog.Server
	metrics  *metrics.Server
	choice   Choice // of the engine, once prepared
	keeper   *redirect.Keeper

	goes    atomic.Bool   // it is being drained
	up      atomic.Bool   // Envoy has served, and the redirection was applied
	applied chan struct{} // closed when that was tried
	telling sync.Mutex    // one Dataplane at a time is told
	verdict atomic.Pointer[health.Verdict]
	probed  chan struct{} // closed when there is one, or none is to come
	knowing sync.Once     // closes probed
	// probes are how Dataplanes say that the service is asked, nil before the
	// relay has spoken, which closes probesKnown.
	probes      atomic.Pointer[map[uint16]proxy.Probe]
	probesKnown chan struct{}
	reprobe     chan struct{} // capacity 1: probes or the service's place changed
	changed     chan struct{} // capacity 1: the redirection is to be another one
	putOut      chan struct{} // capacity 1: the host is none of the mesh's any more
	// registered is closed after the first try to register: the control plane
	// knows nobody's stream whose Dataplane is not there.
	registered chan struct{}

	mu           sync.Mutex
	address      netip.Addr     // where others reach it
	rules        redirect.Rules // that are wanted
	envoyVersion string
	redirected   error // why the redirection could not be put in force
	unwell       error // why the lease was not renewed last
}

// newWorkload makes what serves one workload, and starts nothing. It fails where
// that has not joined.
func newWorkload(cfg Config, version string, sockets dns.Sockets, log *slog.Logger) (*Workload, error) {
	address, err := cfg.address()
	if err != nil {
		return nil, err
	}
	rules, err := cfg.Rules()
	if err != nil {
		return nil, err
	}
	id, err := cfg.openIdentity(log.With("part", "identity"))
	if err != nil {
		return nil, err
	}
	if want := (proxy.ID{Mesh: cfg.Mesh, Name: cfg.Name}); id.ID() != want {
		return nil, fmt.Errorf("the identity in %s is of dataplane %q in mesh %q, but the configuration names %q in mesh %q: join again, or give this agent its own --state-dir",
			cfg.identityDir(), id.ID().Name, id.ID().Mesh, want.Name, want.Mesh)
	}
	id.Addresses, id.TokenFile, id.Mark, id.Log = cfg.ControlPlanes, cfg.JoinTokenFile, proxy.MarkAgent, log.With("part", "identity")
	w := &Workload{
		cfg: cfg, version: version, log: log,
		identity: id, rules: rules, address: address,
		registered: make(chan struct{}), probed: make(chan struct{}), probesKnown: make(chan struct{}), reprobe: make(chan struct{}, 1), applied: make(chan struct{}), changed: make(chan struct{}, 1), putOut: make(chan struct{}, 1),
	}
	w.now.Store(&cfg)
	w.keeper = &redirect.Keeper{Rules: rules, Wanted: w.wanted, Log: log.With("part", "redirect")}
	user, err := cfg.envoyUser()
	if err != nil {
		return nil, err
	}
	w.user.Store(user)
	w.dns = dns.New(dns.Config{
		Listen:     []string{loopback(net.IPv4(127, 0, 0, 1), cfg.DNSPort), loopback(net.IPv6loopback, cfg.DNSPort)},
		Direct:     []string{cfg.envoyResolver().String()},
		Mark:       cfg.mark(),
		ResolvConf: cfg.ResolvConf,
		Sockets:    sockets,
		Log:        log.With("part", "dns"),
	})
	w.relay = relay.New(relay.Config{
		Socket:     cfg.xdsSocket(),
		ID:         id.ID(),
		UIDs:       w.envoyUIDs(),
		Metadata:   w.metadata,
		Dial:       w.dial,
		Secrets:    secrets{id, &rootsFile{paths: cfg.systemRoots(), log: log}, &pairFile{cert: cfg.MetricsCert, key: cfg.MetricsKey, log: log}},
		OnNames:    w.dns.SetNames,
		OnProbes:   w.takeProbes,
		OnLost:     id.Heed,
		OnTrust:    id.Trust,
		OnIssuer:   id.IssueBy,
		OnQuestion: w.answer,

		OnControlPlane:  id.TakeControlPlane,
		OnControlPlanes: id.Learn,
		OnLook:          id.Look,

		CacheDir: cfg.cacheDir(),
		Log:      log.With("part", "relay"),
	})
	w.envoy = envoy.New(w.envoyConfig(&cfg))
	w.observers()
	id.OnPutOut = func() {
		select {
		case w.putOut <- struct{}{}:
		default:
		}
	}
	return w, nil
}

// envoyResolver is where Envoy asks for hosts outside of the mesh.
func (c *Config) envoyResolver() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), c.EnvoyDNSPort)
}

func loopback(ip net.IP, port uint16) string {
	return net.JoinHostPort(ip.String(), strconv.Itoa(int(port)))
}

// run keeps the workload in the mesh until ctx ends, then returns nil. It fails
// when Envoy cannot be run, or when this host's network may not be changed. The
// redirection stays in force when it returns, and so does Envoy unless it was
// to be drained, see ErrDrain. prepare comes before it.
func (w *Workload) run(ctx context.Context) error {
	w.log.Info("workload started", "mesh", w.cfg.Mesh, "dataplane", w.cfg.Name, "service", w.cfg.Service)
	w.up.Store(w.envoy.Runs()) // a new agent is no news to peers
	parts, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	g, parts := errgroup.WithContext(parts)
	for _, part := range []func(context.Context) error{
		w.probeService, w.register, w.comeUp, w.relay.Run, w.runEnvoy, w.metrics.Run, w.answerNames, w.redirect, w.tellNeighbours, w.leaveMesh,
	} {
		g.Go(func() error { return part(parts) })
	}
	g.Go(func() error {
		select {
		case <-ctx.Done():
			if !w.stays(ctx) {
				w.drain(parts)
			}
			end()
		case <-parts.Done():
		}
		return nil
	})
	return g.Wait()
}

// prepare finds what would fail later, before anything runs but what answers
// queries: they have waited since the last agent went.
func (w *Workload) prepare(ctx context.Context) (err error) {
	w.beginNames(ctx)
	defer func() {
		if err != nil {
			w.endNames()
		}
	}()
	if err := keyfile.Passage(w.cfg.RunDir); err != nil {
		return err
	}
	if err := w.letThrough(); err != nil {
		return err
	}
	version, err := envoy.CheckAs(ctx, w.cfg.envoyBinary(), w.user.Load())
	if err != nil {
		return err
	}
	w.envoyVersion = version
	return w.prepareRedirection(ctx)
}

// register has the control plane take the Dataplane, then keeps the
// certificates young.
func (w *Workload) register(ctx context.Context) error {
	select {
	case <-w.probed: // what is registered is to be true
	case <-ctx.Done():
	}
	if err := w.tellDataplane(ctx, registerTime); err != nil && ctx.Err() == nil {
		w.log.Warn("dataplane was not registered, trying on", "error", err)
	}
	close(w.registered)
	return w.identity.Run(ctx)
}

// document is the Dataplane of now.
func (w *Workload) document() []byte {
	c := *w.now.Load()
	c.inboundState = mesh.StateReady
	if !w.takesCalls() {
		c.inboundState = mesh.StateNotReady
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return c.Dataplane(w.address)
}

func (w *Workload) dial(ctx context.Context, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	select {
	case <-w.registered:
		return w.identity.Dial(ctx, opts...)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// secrets gives the relay what the identity holds, and whom the host trusts.
type secrets struct {
	*identity.Identity
	system  *rootsFile
	metrics *pairFile
}

func (s secrets) Current() (relay.SecretSet, <-chan struct{}) {
	now, changed := s.Identity.Current()
	system, version := s.system.read()
	cert, key, certVersion := s.metrics.read()
	for _, v := range []string{version, certVersion} {
		if v != "" {
			now.Version += "+" + v
		}
	}
	return relay.SecretSet{
		Version: now.Version, Certificate: now.Certificate, Key: now.Key, Roots: now.Roots, AcceptExpired: now.AcceptExpired,
		SystemRoots: system, MetricsCertificate: cert, MetricsKey: key,
	}, changed
}
