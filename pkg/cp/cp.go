package cp

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/admission"
	"github.com/weft-mesh/weft/pkg/cp/audit"
	"github.com/weft-mesh/weft/pkg/cp/ca"
	"github.com/weft-mesh/weft/pkg/cp/history"
	"github.com/weft-mesh/weft/pkg/cp/host"
	"github.com/weft-mesh/weft/pkg/cp/mirror"
	"github.com/weft-mesh/weft/pkg/cp/plan"
	"github.com/weft-mesh/weft/pkg/cp/publish"
	"github.com/weft-mesh/weft/pkg/cp/replica"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/sealed"
	"github.com/weft-mesh/weft/pkg/cp/token"
	"github.com/weft-mesh/weft/pkg/cp/trust"
	"github.com/weft-mesh/weft/pkg/cp/xds"
	"github.com/weft-mesh/weft/pkg/envoy/render"
	"github.com/weft-mesh/weft/pkg/keyfile"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// A ControlPlane is one replica, with its doors open but nobody answering yet.
type ControlPlane struct {
	cfg     Config
	version string
	log     *slog.Logger

	doors     listeners
	store     store.Keeper
	board     store.Board // nil: no other replica can be there
	newest    store.Store // the store without a mirror
	sealed    *sealed.Store
	audit     *audit.Log
	secrets   *sealed.Keys
	mirror    *mirror.Store // nil: the store is never out of reach
	replicas  *replica.Group
	own       *ca.Own
	meshes    *ca.Meshes
	tokens    *token.Issuer
	admission *admission.Admission
	auth      *host.Auth
	xds       *xds.Server
	questions *host.Questions
	history   *history.Keeper
	publisher *publish.Publisher
	trust     *trust.Keeper
	sight     *replica.Sight // nil: the store is never out of reach
	metrics   *prometheus.Registry
	admin     string         // the administrator's token
	people    *x509.CertPool // by whose certificates people are administrators; nil: by none
	instance  string         // another one at every start
}

// New opens the control plane's doors and its store, and makes what a first
// start needs: authority, admin token, mesh "default". Run does the rest and
// must follow.
func New(ctx context.Context, cfg Config, version string, log *slog.Logger) (_ *ControlPlane, err error) {
	c := &ControlPlane{cfg: cfg, version: version, log: log, metrics: prometheus.NewRegistry(), instance: uuid.NewString()}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if c.doors, err = listen(ctx, cfg); err != nil {
		return nil, err
	}
	if err := keyfile.Dir(cfg.DataDir); err != nil {
		return nil, fmt.Errorf("data-dir: %w", err)
	}
	opened, err := openStore(ctx, cfg, log.With("part", "store"))
	if err != nil {
		return nil, err
	}
	if c.secrets, err = openKeys(ctx, cfg, opened, log.With("part", "store")); err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	if c.audit, err = audit.Open(cfg.auditLog(), log.With("part", "audit")); err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	c.share(opened)
	if _, err := c.sealed.Reseal(ctx); err != nil { // what was stored before it was sealed
		return nil, err
	}
	if c.own, err = c.openOwn(ctx); err != nil {
		return nil, err
	}
	if c.admin, err = c.adminToken(ctx); err != nil {
		return nil, err
	}
	c.meshes = &ca.Meshes{Store: c.newest, ReadFile: publish.FilesUnder(cfg.ResourceFiles)}
	c.tokens = &token.Issuer{Store: c.store, Off: cfg.TokenIssuersOff}
	if c.tokens.PublicKeys, err = cfg.publicKeys(); err != nil {
		return nil, err
	}
	if c.people, err = cfg.clientCertificates(); err != nil {
		return nil, err
	}
	if err := c.tokens.EnsureGlobal(ctx); err != nil {
		return nil, err
	}
	c.admission = &admission.Admission{Store: c.store, Authority: c.meshes, Keys: c.tokens, Own: ca.OwnKey, Zone: cfg.Zone, Native: native}
	if err := errors.Join(c.admission.EnsureZone(ctx), c.admission.EnsureDefaultMesh(ctx)); err != nil {
		return nil, err
	}
	c.auth = &host.Auth{
		Sources: host.Sources{Store: c.store, Tokens: c.tokens},
		Seen:    host.Sources{Store: seenStore(c.seen), Tokens: c.tokens.Reading(c.seen)},
		Open:    cfg.DPAuth == DPAuthNone,
		Elsewhere: func(id proxy.ID) bool {
			_, ok := c.elsewhere(id.Mesh, id.Name)
			return ok
		},
		ControlPlanes: c.controlPlanes, Audit: c.audit, Log: log.With("part", "host"),
	}
	c.openHistory()
	c.xds = xds.New(xds.Config{
		Auth: c.auth,
		// The publisher is made of the stream, and the stream asks it back.
		Connect: func(ctx context.Context, id proxy.ID) error {
			if err := c.abreast(ctx); err != nil {
				return err
			}
			return c.publisher.Connect(ctx, id)
		},
		Came:  c.came,
		Left:  c.left,
		State: c.stateSent,
		Log:   log.With("part", "xds"),
	})
	c.questions = &host.Questions{Send: c.xds.Ask}
	c.publisher = publish.New(publish.Config{Store: c.store, Stream: c.xds, ReadFile: publish.FilesUnder(cfg.ResourceFiles), Log: log.With("part", "publish")})
	c.admission.Carries, c.admission.Permissions = c.carries, c.permissions
	c.admission.Settled = func(name string) error { return trust.Settled(c.xds, name) }
	c.auth.Trusts = c.own.Trusts
	c.trust = &trust.Keeper{
		Store: c.newest, Meshes: c.meshes, Own: c.own, Stream: c.xds, Registered: c.registered, Hosts: c.hosts, Replica: c.instance,
		ControlPlanes: c.controlPlanes, ByAge: !cfg.CARotateByHand, Log: log.With("part", "trust"),
	}
	c.replicas = c.group()
	c.openSight(opened)
	for _, m := range slices.Concat(c.xds.Metrics(), c.publisher.Metrics(), storeMetrics(opened), c.replicas.Metrics(), c.sightMetrics(), []prometheus.Collector{
		c.stateMetric(), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	}) {
		if err := c.metrics.Register(m); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return c, nil
}

// seen answers from the newest state that the publisher has.
func (c *ControlPlane) seen(ctx context.Context, k mesh.Key) (mesh.Resource, error) {
	return c.publisher.Seen(ctx, k)
}

type seenStore func(ctx context.Context, k mesh.Key) (mesh.Resource, error)

func (get seenStore) Get(ctx context.Context, k mesh.Key) (mesh.Resource, error) { return get(ctx, k) }

// carries tells whether a dataplane of a mesh carries what a selector wants. What
// is not found in the state at hand is looked for in one that holds all that was
// stored before.
func (c *ControlPlane) carries(ctx context.Context, name string, selector mesh.Selector) (bool, error) {
	s := c.publisher.State()
	if s != nil && s.Mesh(name) != nil && s.Mesh(name).Carries(selector) {
		return true, nil
	}
	s, err := c.publisher.Recent(ctx)
	return err == nil && s.Mesh(name) != nil && s.Mesh(name).Carries(selector), err
}

// permissions are those of a mesh in the state that is at hand.
func (c *ControlPlane) permissions(name string) []*mesh.Resource {
	s := c.publisher.State()
	if s == nil || s.Mesh(name) == nil {
		return nil
	}
	return s.Mesh(name).Policies(mesh.TrafficPermissionKind).All()
}

// registered is how many dataplanes a mesh has.
func (c *ControlPlane) registered(name string) int {
	if s := c.publisher.State(); s != nil && s.Mesh(name) != nil {
		return len(s.Mesh(name).Dataplanes())
	}
	return 0
}

// hosts is how many dataplanes hosts have registered, in all meshes.
func (c *ControlPlane) hosts() (n int) {
	s := c.publisher.State()
	if s == nil {
		return 0
	}
	for _, m := range s.Meshes() {
		for _, dp := range s.Mesh(m).Dataplanes() {
			if dp.Meta.Labels[host.JoinLabel] != "" {
				n++
			}
		}
	}
	return n
}

// native lets the package that speaks Envoy's words judge a ProxyTemplate.
func native(template mesh.Resource) (v mesh.Violations) {
	for _, fault := range render.Check(plan.Template(&template)) {
		v.Add(fault.Part, "%s", fault.Text)
	}
	return v
}

// Run serves until ctx ends, then returns nil. It fails when one of its parts
// does; the others are stopped then.
func (c *ControlPlane) Run(ctx context.Context) error {
	defer c.close()
	hosts, err := c.hostsServer()
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.publisher.Run(ctx) })
	g.Go(func() error { return c.replicas.Run(ctx) })
	g.Go(func() error { return c.trust.Run(ctx) })
	if c.sight != nil {
		g.Go(func() error { return c.sight.Run(ctx) })
	}
	g.Go(func() error { return c.reseal(ctx) })
	g.Go(func() error { return c.remember(ctx) })
	g.Go(func() error { return storeFails(ctx, c.store) })
	g.Go(func() error { return c.serveHosts(ctx, hosts) })
	g.Go(func() error { return c.tellSystemd(ctx) })
	for _, s := range c.httpServers() {
		if s.door != nil {
			g.Go(func() error { return s.run(ctx) })
		}
	}
	c.log.Info("control plane started", "version", c.version, "hosts", c.cfg.HostsAddress, "api", c.cfg.APIAddress,
		"api_tls", c.cfg.APITLSAddress, "api_socket", c.cfg.APISocket, "data_dir", c.cfg.DataDir)
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	c.log.Info("control plane stopped")
	return nil
}

func (c *ControlPlane) close() {
	c.doors.close()
	if c.store != nil {
		if err := c.store.Close(); err != nil {
			c.log.Error("store was not closed well", "error", err)
		}
	}
	if c.history != nil {
		c.history.Close()
	}
	if err := c.audit.Close(); err != nil {
		c.log.Error("audit log was not closed well", "error", err)
	}
}

// hostsServer is the gRPC server of the hosts' port.
func (c *ControlPlane) hostsServer() (*grpc.Server, error) {
	s := grpc.NewServer(append(xds.ServerOptions(), c.auth.ServerOptions(credentials.NewTLS(host.TLSConfig(c.own, time.Now)))...)...)
	host.Mount(s, &host.Service{
		Auth:   c.auth,
		Decode: api.DecodeAs,
		Put: func(ctx context.Context, r mesh.Resource) (mesh.Resource, error) {
			done, err := c.admission.PutAt(ctx, r)
			return done.Resource, err
		},
		Delete: c.admission.DeleteAt,

		Questions: c.questions,
		Sees:      c.sees,
		Certified: c.history.Certified,

		Own:    c.own,
		Meshes: c.meshes,
		Log:    c.log.With("part", "host"),
	})
	c.xds.Register(s)
	return s, host.Covered(s.GetServiceInfo())
}

// drainTime is how long calls may take to end when the control plane stops.
// Streams do not end by themselves: they are told.
const drainTime = 3 * time.Second

func (c *ControlPlane) serveHosts(ctx context.Context, s *grpc.Server) error {
	stop := context.AfterFunc(ctx, func() {
		c.xds.Shutdown()
		hard := time.AfterFunc(drainTime, s.Stop)
		s.GracefulStop()
		hard.Stop()
	})
	defer stop()
	if err := s.Serve(c.doors.hosts); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve hosts: %w", err)
	}
	return nil
}
