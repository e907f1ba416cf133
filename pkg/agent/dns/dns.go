// Package dns answers the mesh's names and passes everything else on.
//
// Names under the mesh's domain, and the addresses that belong to them, are
// answered from a table in memory and never leave the host. So is where a host
// outside is that is called through the mesh. Any other query
// goes, byte for byte, to the host's own resolvers.
package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// What Run's errors wrap.
var (
	// ErrNoAddress: none of the listen addresses exists on this host.
	ErrNoAddress = errors.New("no address to listen on")
	// ErrNotPermitted: the kernel does not let us mark our queries.
	ErrNotPermitted = errors.New("not permitted")
)

// defaultListen is where redirection sends the host's queries.
var defaultListen = []string{"127.0.0.1:15053", "[::1]:15053"}

// Config says where a Server listens and whom it asks. The zero value means
// the ordinary host.
type Config struct {
	// Listen are the addresses served, each by UDP and TCP; default
	// 127.0.0.1:15053 and [::1]:15053. One whose family this host lacks is
	// left out. Port 0 takes a free port, the same for UDP and TCP.
	Listen []string
	// Direct are further addresses, for those who are to be told where hosts
	// outside of the mesh really are, and not by which virtual address they are
	// called: the proxy itself. None by default.
	Direct []string
	// Mark is the socket mark of our own queries to the host's resolvers, by
	// which redirection knows them; 0 marks nothing. It takes CAP_NET_ADMIN.
	Mark uint32
	// ResolvConf names the host's resolvers; default /etc/resolv.conf. It is
	// read again when it has changed.
	ResolvConf string
	// Domain ends the mesh's names; default proxy.Domain.
	Domain string
	// Sockets hold what the server listens with beyond its end, so that queries
	// that come then wait for the next one; nil holds nothing.
	Sockets Sockets
	Log     *slog.Logger
}

// Sockets are held by names. Take returns nil for none, and what it returns
// stays theirs; Keep holds a copy.
type Sockets interface {
	Take(name string) *os.File
	Keep(name string, socket interface{ File() (*os.File, error) })
	Drop(name string)
}

// A Server answers the queries of one host.
type Server struct {
	cfg   Config
	log   *slog.Logger
	table atomic.Pointer[table] // nil: no table yet
	fwd   *forwarder
	slots chan struct{} // one for each query that is being forwarded
	conns chan struct{} // one for each TCP connection
	ready chan struct{}
	addrs []netip.AddrPort // set before ready is closed
	known chan struct{}    // closed once there is a table
	once  sync.Once        // closes known
}

// Bounds on what clients can make us hold: beyond them queries are answered
// SERVFAIL and connections closed. Where the process may have few files, each is
// a quarter of those, so that the rest of the agent has some.
const (
	maxForwards = 512
	maxConns    = 256
)

const (
	// tableTime is how long a name of the mesh waits for the first table: a new
	// agent has it within moments, and a resolver asks again after 5 s.
	tableTime = 4 * time.Second
	// lastTime is how long queries that are under way may take when the server
	// ends. Those that are not read yet are the next one's.
	lastTime = time.Second
)

// New returns a Server that does nothing until Run.
func New(cfg Config) *Server {
	if len(cfg.Listen) == 0 {
		cfg.Listen = defaultListen
	}
	if cfg.ResolvConf == "" {
		cfg.ResolvConf = "/etc/resolv.conf"
	}
	if cfg.Domain == "" {
		cfg.Domain = proxy.Domain
	}
	cfg.Domain = strings.ToLower(strings.Trim(cfg.Domain, "."))
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{
		cfg:   cfg,
		log:   cfg.Log,
		fwd:   newForwarder(cfg),
		slots: make(chan struct{}, min(maxForwards, files()/4)),
		conns: make(chan struct{}, min(maxConns, files()/4)),
		ready: make(chan struct{}),
		known: make(chan struct{}),
	}
}

// SetNames replaces the table of names in one step; queries under way see the
// old one or the new one whole. Before the first call, names of the mesh wait for
// it up to tableTime, and are then answered SERVFAIL.
func (s *Server) SetNames(names []proxy.Name) {
	s.table.Store(newTable(s.cfg.Domain, names))
	s.once.Do(func() { close(s.known) })
}

// Ready is closed once the server listens.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addrs returns the addresses that are served. It is empty until Ready.
func (s *Server) Addrs() []netip.AddrPort {
	select {
	case <-s.ready:
		return s.addrs
	default:
		return nil
	}
}

// Run answers until ctx ends, then returns nil. What it has not read by then is
// left in the sockets. It fails at once when an
// address is taken, when none exists on this host (ErrNoAddress), or when Mark
// may not be set (ErrNotPermitted).
func (s *Server) Run(ctx context.Context) error {
	if err := s.fwd.permitted(); err != nil {
		return fmt.Errorf("dns: %w", err)
	}
	listeners, err := s.listen(ctx, s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("dns: %w", err)
	}
	for _, l := range listeners {
		s.addrs = append(s.addrs, l.addr)
	}
	s.fwd.own = slices.Clone(s.addrs)
	if len(s.cfg.Direct) > 0 {
		direct, err := s.listen(ctx, s.cfg.Direct)
		if err != nil && !errors.Is(err, ErrNoAddress) { // without such an address nobody asks there either
			for _, l := range listeners {
				l.close()
			}
			return fmt.Errorf("dns: %w", err)
		}
		for _, l := range direct {
			l.direct = true
			s.fwd.own = append(s.fwd.own, l.addr)
		}
		listeners = append(listeners, direct...)
	}
	close(s.ready)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := s.fwd.conf.watch(ctx); err != nil {
			s.log.Info("changes of the host's resolvers are looked for once a second", "file", s.cfg.ResolvConf, "error", err)
		}
		return nil
	})
	answering, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastTime, end) })()
	for _, l := range listeners {
		defer l.close()
		g.Go(func() error { return s.serveUDP(ctx, answering, l.udp, l.direct) })
		g.Go(func() error { return s.serveTCP(ctx, answering, l.tcp, l.direct) })
		context.AfterFunc(ctx, l.wake)
	}
	return g.Wait()
}
