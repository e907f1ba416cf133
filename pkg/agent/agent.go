package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/weft-mesh/weft/pkg/agent/accesslog"
	"github.com/weft-mesh/weft/pkg/agent/dns"
	"github.com/weft-mesh/weft/pkg/agent/identity"
	"github.com/weft-mesh/weft/pkg/agent/metrics"
	"github.com/weft-mesh/weft/pkg/agent/relay"
	"github.com/weft-mesh/weft/pkg/envoy"
	"github.com/weft-mesh/weft/pkg/envoy/bootstrap"
	"github.com/weft-mesh/weft/pkg/keyfile"
	"github.com/weft-mesh/weft/pkg/proxy"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// An Agent is one host's, with all of its parts.
type Agent struct {
	cfg     Config
	version string
	log     *slog.Logger

	identity *identity.Identity
	relay    *relay.Relay
	dns      *dns.Server
	envoy    *envoy.Process
	logs     *accesslog.Server
	metrics  *metrics.Server
	choice   Choice // of the engine, once prepared
	keeper   *redirect.Keeper

	dataplane []byte
	rules     redirect.Rules
	// registered is closed after the first try to register: the control plane
	// knows nobody's stream whose Dataplane is not there.
	registered chan struct{}

	mu           sync.Mutex
	envoyVersion string
	redirected   error // why the redirection could not be put in force
	unwell       error // why the lease was not renewed last
}

// New makes an agent of a joined host's configuration. It starts nothing, and
// fails where the host has not joined.
func New(cfg Config, version string, log *slog.Logger) (*Agent, error) {
	address, err := cfg.address()
	if err != nil {
		return nil, err
	}
	rules, err := cfg.Rules()
	if err != nil {
		return nil, err
	}
	id, err := identity.Open(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	if want := (proxy.ID{Mesh: cfg.Mesh, Name: cfg.Name}); id.ID() != want {
		return nil, fmt.Errorf("the identity in %s is of dataplane %q in mesh %q, but the configuration names %q in mesh %q: join again, or give this agent its own --state-dir",
			cfg.StateDir, id.ID().Name, id.ID().Mesh, want.Name, want.Mesh)
	}
	id.Addresses, id.Mark, id.Log = cfg.ControlPlanes, proxy.MarkAgent, log.With("part", "identity")
	a := &Agent{
		cfg: cfg, version: version, log: log,
		identity: id, rules: rules,
		dataplane:  cfg.Dataplane(address),
		registered: make(chan struct{}),
	}
	a.keeper = &redirect.Keeper{Rules: rules, Wanted: a.wanted, Log: log.With("part", "redirect")}
	a.dns = dns.New(dns.Config{
		Listen:     []string{loopback(net.IPv4(127, 0, 0, 1), cfg.DNSPort), loopback(net.IPv6loopback, cfg.DNSPort)},
		Direct:     []string{cfg.envoyResolver().String()},
		Mark:       proxy.MarkAgent,
		ResolvConf: cfg.ResolvConf,
		Log:        log.With("part", "dns"),
	})
	a.relay = relay.New(relay.Config{
		Socket:   cfg.xdsSocket(),
		ID:       id.ID(),
		Metadata: a.metadata,
		Dial:     a.dial,
		Secrets:  secrets{id, &rootsFile{paths: cfg.systemRoots(), log: log}, &pairFile{cert: cfg.MetricsCert, key: cfg.MetricsKey, log: log}},
		OnNames:  a.dns.SetNames,
		CacheDir: cfg.cacheDir(),
		Log:      log.With("part", "relay"),
	})
	a.envoy = envoy.New(envoy.Config{
		Binary:      cfg.envoyBinary(),
		Bootstrap:   cfg.bootstrapFile(),
		Dir:         cfg.RunDir,
		AdminSocket: cfg.adminSocket(),
		Concurrency: cfg.concurrency(),
		LogLevel:    cfg.EnvoyLogLevel,
		DrainTime:   cfg.DrainTime,
		ChangeTime:  cfg.ChangeTime,
		Log:         log.With("part", "envoy"),
	})
	a.observers()
	return a, nil
}

// envoyResolver is where Envoy asks for hosts outside of the mesh.
func (c *Config) envoyResolver() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), c.EnvoyDNSPort)
}

func loopback(ip net.IP, port uint16) string {
	return net.JoinHostPort(ip.String(), strconv.Itoa(int(port)))
}

// Run keeps the host in the mesh until ctx ends, then returns nil. It fails
// when another agent has the same files, when Envoy cannot be run, or when this
// host's network may not be changed. The redirection stays in force when it
// returns.
func (a *Agent) Run(ctx context.Context) error {
	if err := keyfile.Dir(a.cfg.RunDir); err != nil {
		return err
	}
	held, err := takeLock(a.cfg.StateDir)
	if err != nil {
		return err
	}
	defer held.release()
	if err := a.prepare(ctx); err != nil {
		return err
	}
	a.log.Info("agent started", "version", a.version, "mesh", a.cfg.Mesh, "dataplane", a.cfg.Name, "service", a.cfg.Service)
	g, ctx := errgroup.WithContext(ctx)
	for _, part := range []func(context.Context) error{
		a.register, a.relay.Run, a.runEnvoy, a.metrics.Run, a.dns.Run, a.redirect, a.tellNeighbours, a.serveStatus,
	} {
		g.Go(func() error { return part(ctx) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	a.log.Info("agent stopped")
	return nil
}

// prepare finds what would fail later, before anything runs.
func (a *Agent) prepare(ctx context.Context) error {
	version, err := envoy.Check(ctx, a.cfg.envoyBinary())
	if err != nil {
		return err
	}
	a.envoyVersion = version
	if err := a.prepareRedirection(ctx); err != nil {
		return err
	}
	doc, err := bootstrap.JSON(bootstrap.Config{
		ID:          a.identity.ID(),
		Service:     a.cfg.Service,
		XDSSocket:   a.cfg.xdsSocket(),
		SDSSocket:   a.cfg.xdsSocket(),
		AdminSocket: a.cfg.adminSocket(),

		LogsSocket:    a.cfg.logsSocket(),
		MetricsSocket: a.cfg.metricsSocket(),
		Resolver:      a.cfg.envoyResolver(),
	})
	if err != nil {
		return err
	}
	if err := os.Remove(a.cfg.adminSocket()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return keyfile.Write(a.cfg.bootstrapFile(), doc)
}

// register has the control plane take the Dataplane, then keeps the
// certificates young.
func (a *Agent) register(ctx context.Context) error {
	conn, err := a.identity.Dial(ctx)
	if err == nil {
		err = a.identity.Register(ctx, conn, a.dataplane)
		_ = conn.Close() // it has served
	}
	if err != nil && ctx.Err() == nil {
		a.log.Warn("dataplane was not registered, trying on", "error", err)
	}
	close(a.registered)
	return a.identity.Run(ctx)
}

func (a *Agent) dial(ctx context.Context, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	select {
	case <-a.registered:
		return a.identity.Dial(ctx, opts...)
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
		Version: now.Version, Certificate: now.Certificate, Key: now.Key, Roots: now.Roots,
		SystemRoots: system, MetricsCertificate: cert, MetricsKey: key,
	}, changed
}
