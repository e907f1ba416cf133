package cp

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/admission"
	"github.com/weft-mesh/weft/pkg/cp/host"
	"github.com/weft-mesh/weft/pkg/cp/rest"
	"github.com/weft-mesh/weft/pkg/cp/token"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// An httpServer is one door of REST or diagnostics.
type httpServer struct {
	name string
	door net.Listener // nil: turned off
	*http.Server
	tls bool
}

// Limits of a connection, so that a slow client costs itself only. Bodies are
// bounded by the handlers.
func newHTTPServer(name string, door net.Listener, h http.Handler, log *slog.Logger) httpServer {
	if door != nil {
		crowd := newCrowd(door, log)
		door, h = crowd, crowd.guard(h)
	}
	return httpServer{name: name, door: door, Server: &http.Server{
		Handler:           h,
		ConnContext:       rest.ConnContext,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		// Each stream may have a document of 1 MB under way.
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: 32, MaxReceiveBufferPerConnection: 1 << 20, MaxReceiveBufferPerStream: 256 << 10},
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		// "OPTIONS *" asks for a credential too.
		DisableGeneralOptionsHandler: true,
	}}
}

func (s httpServer) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			_ = s.Close()
		}
	})
	defer stop()
	serve := s.Serve
	if s.tls {
		serve = func(l net.Listener) error { return s.ServeTLS(l, "", "") }
	}
	if err := serve(s.door); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", s.name, err)
	}
	return nil
}

// httpServers are the doors of people and of monitoring. What opens each is
// said here: the socket by who is at its other end, the ports by the admin
// token, and plain HTTP by coming from this machine only where its owner wants
// that.
func (c *ControlPlane) httpServers() []httpServer {
	log := c.log.With("part", "rest")
	byToken := rest.Bearer(sha256.Sum256([]byte(c.admin)), c.verifyUser)
	plain := byToken
	if c.cfg.LocalhostIsAdmin {
		plain = rest.FirstOf(byToken, rest.LocalhostIsAdmin)
	}
	secure := newHTTPServer("api-tls-address", c.doors.apiTLS, rest.Under(c.cfg.APIBasePath, c.rest(rest.FirstOf(byToken, rest.ClientCertificate))), log)
	secure.tls = true
	// Sessions are not resumed: a resumed one would stand on an old check of
	// the certificate.
	secure.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.own.GetCertificate, SessionTicketsDisabled: true}
	if c.people != nil {
		secure.TLSConfig.ClientAuth, secure.TLSConfig.ClientCAs = tls.VerifyClientCertIfGiven, c.people
	}
	return []httpServer{
		newHTTPServer("api-socket", c.doors.socket, c.rest(rest.FirstOf(byToken, rest.LocalSocket)), log),
		newHTTPServer("api-address", c.doors.api, rest.Under(c.cfg.APIBasePath, c.rest(plain)), log),
		secure,
		newHTTPServer("diagnostics-address", c.doors.diagnostics, c.diagnostics(), log),
	}
}

func (c *ControlPlane) rest(authenticate rest.Authenticator) http.Handler {
	hostname, _ := os.Hostname()
	s := rest.Server{
		Store:        shown{c.store},
		Admission:    people{c.admission, host.Evictions{Store: c.store}},
		Authenticate: authenticate,
		Info: api.Info{
			Version: c.version, WeftVersion: c.version, Hostname: hostname, InstanceID: c.instance,
			// The authority is what makes a control plane itself.
			ClusterID: uuid.NewSHA1(uuid.NameSpaceOID, []byte(c.own.ID())).String(),
		},
		Config: func() any { return c.cfg },
		Hosts: func() (api.Hosts, error) {
			addresses, err := c.hostAddresses()
			return api.Hosts{Addresses: addresses, Authority: c.own.Fingerprint()}, err
		},
		IssueDataplane: func(ctx context.Context, r api.DataplaneTokenRequest) (string, error) {
			return issued(c.tokens.IssueDataplane(ctx, token.Request(r)))
		},
		IssueZone: func(ctx context.Context, r api.ZoneTokenRequest) (string, error) {
			return issued(c.tokens.IssueZone(ctx, token.ZoneRequest(r)))
		},
		IssueUser: func(ctx context.Context, r api.UserTokenRequest) (string, error) {
			return issued(c.tokens.IssueUser(ctx, token.UserRequest(r)))
		},
		Access:       c.cfg.access(),
		Audit:        c.audit,
		Tokens:       tokenKeys{c.tokens},
		Authorities:  authorities{c},
		Stage:        c.publisher.Stage,
		Insight:      c.insight,
		KnownInsight: c.knownInsight,
		Ask:          c.ask,
		Stale:        c.stale,
		Replicas:     func() any { return c.replicas.Replicas() },
		State:        c.publisher.Recent,
		Online:       c.online,
		Zone:         c.cfg.Zone,
		Origins:      c.cfg.origins(),
		ReadOnly:     c.cfg.APIReadOnly,
		Log:          c.log.With("part", "rest"),
	}
	return s.Handler()
}

// people is the door of those who are no hosts: when they delete a Dataplane,
// its host is put out as well.
type people struct {
	*admission.Admission
	evictions host.Evictions
}

func (p people) DeleteAt(ctx context.Context, k mesh.Key, at mesh.Version) error {
	if k.Kind == mesh.DataplaneKind.Name {
		// Nobody is put out for a deletion that will not be.
		if _, err := p.PreviewDelete(ctx, k, at); err != nil && at != 0 {
			return err
		}
		if err := p.evictions.Of(ctx, k); err != nil {
			return fmt.Errorf("put the host of %s out: %w", k, err)
		}
	}
	return p.Admission.DeleteAt(ctx, k, at)
}

// controlPlanes is where hosts may turn to: this control plane, where it knows
// its own address for certain, its peers, and the replicas on its store.
func (c *ControlPlane) controlPlanes() (all []string) {
	add := func(addresses []string) {
		for _, a := range addresses {
			if !slices.Contains(all, a) {
				all = append(all, a)
			}
		}
	}
	add(c.ownAddresses())
	for _, r := range c.replicas.Replicas() {
		add(r.Hosts)
	}
	add(c.cfg.Peers)
	return all
}

// ownAddresses are those that this control plane was told to advertise.
func (c *ControlPlane) ownAddresses() []string {
	if len(c.cfg.Advertise) == 0 {
		return nil
	}
	own, err := c.hostAddresses()
	if err != nil {
		return nil
	}
	return own
}

// hostAddresses is where hosts reach this control plane: as advertised, or at
// every address of this machine that others can reach.
func (c *ControlPlane) hostAddresses() (out []string, err error) {
	_, port, err := net.SplitHostPort(c.doors.hosts.Addr().String())
	if err != nil {
		return nil, err
	}
	for _, a := range c.cfg.Advertise {
		if _, _, err := net.SplitHostPort(a); err != nil {
			a = net.JoinHostPort(strings.Trim(a, "[]"), port)
		}
		out = append(out, a)
	}
	if len(out) > 0 {
		return out, nil
	}
	if host, _, err := net.SplitHostPort(c.cfg.HostsAddress); err == nil && host != "" {
		if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() {
			return []string{net.JoinHostPort(host, port)}, nil
		}
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if ipnet, ok := a.(*net.IPNet); ok && ipnet.IP.IsGlobalUnicast() {
			out = append(out, net.JoinHostPort(ipnet.IP.String(), port))
		}
	}
	return out, nil
}

// diagnostics answers probes and Prometheus.
func (c *ControlPlane) diagnostics() http.Handler {
	mux := http.NewServeMux()
	say := func(w http.ResponseWriter, code int, text string) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(code)
		if _, err := fmt.Fprintln(w, text); err != nil {
			c.log.Debug("probe did not read its answer", "error", err)
		}
	}
	mux.HandleFunc("GET /healthy", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "healthy") })
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if !c.publisher.Ready() {
			say(w, http.StatusServiceUnavailable, "the store has not been read yet")
			return
		}
		say(w, http.StatusOK, "ready")
	})
	if c.cfg.DebugProfiles {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	}
	mux.Handle("GET /metrics", promhttp.HandlerFor(c.metrics, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	return mux
}
