//go:build linux

package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/explain"
	"github.com/weft-mesh/weft/pkg/redirect/sockets"
)

// How long a connection or an answer may take, on this host alone.
const (
	patience         = 1500 * time.Millisecond
	patienceForAgent = 5 * time.Second
)

// A shot is a probing under way.
type shot struct {
	probing
	want   explain.Decision
	socket socket
	fd     int
	from   netip.AddrPort // this end, once it is known
	token  string
	server int // the descriptor of the own listener or server; -1: none

	err       error // of connect
	seen      int   // hops of what was sent before
	connected bool  // and its other end is looked for
	settled   bool
	late      bool // it has had its time
	landing   landing
}

// Run probes. The error is about the probing itself: what it found is in the
// report.
func (p Prober) Run(ctx context.Context) (report Report, err error) {
	if err := p.Rules.Validate(); err != nil {
		return report, err
	}
	r := run{Prober: p, servers: make(map[server]int), came: make(map[int]map[netip.AddrPort]bool)}
	r.Rules = p.Rules.Normal()
	defer r.close()
	if err := r.survey(); err != nil {
		return report, err
	}
	if err := r.aim(); err != nil {
		return report, err
	}
	if err := r.ready(ctx); err != nil {
		return report, err
	}
	if err := r.shoot(); err != nil {
		return report, err
	}
	r.settle(ctx)
	r.shootAgain(ctx)
	return r.judge(ctx)
}

// A run is one probing of a host.
type run struct {
	Prober
	host      explain.Host
	families  []family
	listeners listeners
	shots     []*shot
	callers   map[identity]caller
	outside   *there
	trace     redirect.Trace
	servers   map[server]int                  // descriptors
	came      map[int]map[netip.AddrPort]bool // who called them
	notes     []string
}

func (r *run) close() {
	if r.trace != nil {
		_ = r.trace.Close()
	}
	for _, c := range r.callers {
		c.close()
	}
	if r.outside != nil {
		r.outside.close()
		r.outside.beside.close()
	}
	for _, fd := range r.servers {
		_ = unix.Close(fd)
	}
}

func (r *run) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// aim decides what is sent, and to whom it should come.
func (r *run) aim() error {
	self, err := sockets.Look(unix.Getpid())
	if err != nil {
		return err
	}
	busy, err := busyPorts()
	if err != nil {
		return err
	}
	for _, f := range r.families {
		t := table{Rules: r.Rules, family: f, self: explain.Owner{UID: self.UID, GID: self.GID, Cgroup: self.Cgroup}, busy: busy}
		var ok bool
		if t.app, ok = t.ordinary(); !ok {
			return errors.New("probe the redirection: there is nobody whose calls are redirected: outbound.only and outbound.exclude leave nobody over")
		}
		for _, p := range t.build() {
			s := &shot{probing: p, fd: -1, server: -1}
			r.shots = append(r.shots, s)
			if p.skip != "" {
				continue
			}
			if p.own {
				r.serve(s)
			}
			if p.outside && s.skip == "" {
				s.flow.In = outsideName
				s.flow.From = netip.AddrPortFrom(besideAddress(s.flow.To.Addr()), 0)
				if r.Inside {
					s.skip = "it takes an interface more for a moment"
				}
			}
			s.want = explain.Final(explain.Explain(r.Rules, s.flow, r.host))
		}
	}
	return nil
}

// A server is where this process listens.
type server struct {
	udp bool
	at  netip.AddrPort
}

// serve listens where a probe goes, if it goes straight.
func (r *run) serve(s *shot) {
	at := server{s.flow.UDP, s.flow.To}
	fd, shared := r.servers[at]
	if !shared {
		var err error
		if fd, err = listen(s.flow.UDP, s.flow.To); err != nil {
			s.skip = fmt.Sprintf("this process cannot listen there: %v", err)
			return
		}
	}
	s.server, s.flow.To = fd, local(fd)
	r.servers[server{s.flow.UDP, s.flow.To}] = fd
}

// ready makes every socket, and begins to follow what they will send.
func (r *run) ready(ctx context.Context) error {
	r.callers = make(map[identity]caller)
	of := make(map[identity][]*shot)
	var outside []*shot
	for _, s := range r.shots {
		if s.skip != "" {
			continue
		}
		unspecified := netip.IPv4Unspecified()
		if s.flow.To.Addr().Is6() {
			unspecified = netip.IPv6Unspecified()
		}
		from := s.flow.From
		if !from.IsValid() {
			from = netip.AddrPortFrom(unspecified, 0)
		}
		s.token = token()
		s.socket = socket{UDP: s.flow.UDP, Mark: s.flow.Mark, From: from, To: s.flow.To}
		if s.query && s.flow.UDP {
			send, err := ask(s.token, r.Domain)
			if err != nil {
				return fmt.Errorf("probe the redirection: make a query for domain %q: %w", r.Domain, err)
			}
			s.socket.Send = send
		}
		if s.outside {
			outside = append(outside, s)
		} else {
			of[s.as] = append(of[s.as], s)
		}
	}
	for who, shots := range of {
		var c caller = new(here)
		if who.set {
			child, err := become(ctx, who)
			if err != nil {
				for _, s := range shots {
					s.skip = err.Error()
				}
				continue
			}
			c = child
		}
		r.callers[who] = c
		if err := open(c, shots); err != nil {
			for _, s := range shots {
				s.skip = fmt.Sprintf("its socket could not be made: %v", err)
			}
		}
	}
	if len(outside) > 0 {
		b, err := goBeside(r.families)
		if err != nil {
			for _, s := range outside {
				s.skip = err.Error()
			}
		} else {
			r.outside = &there{beside: b}
			if err := open(r.outside, outside); err != nil {
				return err
			}
		}
	}
	return r.follow(ctx)
}

func open(c caller, shots []*shot) error {
	list := make([]socket, len(shots))
	for i, s := range shots {
		list[i] = s.socket
	}
	fds, err := c.open(list)
	if err != nil {
		return err
	}
	for i, s := range shots {
		s.fd = fds[i]
		s.socket.From = local(s.fd)
	}
	return nil
}

// follow has the packet filter tell of every probe.
func (r *run) follow(ctx context.Context) error {
	if r.Tracer == nil {
		return nil
	}
	var all []redirect.Follow
	for _, s := range r.shots {
		if s.skip == "" {
			all = append(all, s.follow(r.host))
		}
	}
	trace, err := r.Tracer.Trace(ctx, all)
	switch {
	case errors.Is(err, redirect.ErrNotSupported):
		r.note("the kernel has no nf_tables: probes that go straight leave this host, to addresses of nobody, and die at the first router")
	case err != nil:
		return fmt.Errorf("probe the redirection: %w", err)
	default:
		r.trace = trace
	}
	return nil
}

func (s *shot) follow(h explain.Host) redirect.Follow {
	return redirect.Follow{UDP: s.flow.UDP, FromPort: s.socket.From.Port(), To: s.flow.To, Keep: !h.Local(s.flow.To.Addr())}
}

// shoot sends all, each as who it is to be.
func (r *run) shoot() error {
	of := make(map[caller][]*shot)
	for _, s := range r.shots {
		if s.skip != "" {
			continue
		}
		c := r.callers[s.as]
		if s.outside {
			c = r.outside
		}
		of[c] = append(of[c], s)
	}
	for c, shots := range of {
		// A caller starts all that it opened, in the same order.
		list := make([]socket, len(shots))
		for i, s := range shots {
			list[i] = s.socket
		}
		errs, err := c.start(list)
		if err != nil {
			return fmt.Errorf("probe the redirection: %w", err)
		}
		for i, s := range shots {
			s.err = errs[i]
			s.from = local(s.fd)
			s.settled = s.err != nil
		}
	}
	return nil
}

// shootAgain has the agent ask from the port from which an application has
// asked a moment ago.
func (r *run) shootAgain(ctx context.Context) {
	for _, s := range r.shots {
		if !s.again || s.skip != "" || s.landing.place != theAgent {
			continue
		}
		if r.trace != nil {
			if hops, err := r.trace.Hops(s.follow(r.host)); err == nil {
				s.seen = len(hops)
			}
		}
		s.token, s.settled, s.late, s.landing = token(), false, false, landing{}
		s.flow.Mark = r.Rules.Marks.Agent
		s.want = explain.Final(explain.Explain(r.Rules, s.flow, r.host))
		query, err := ask(s.token, r.Domain)
		if err == nil {
			s.socket.Mark, s.socket.Send, s.socket.From = s.flow.Mark, query, s.from
			err = s.socket.again(s.fd)
		}
		s.err = err
		s.settled = err != nil
	}
	r.settle(ctx)
}
