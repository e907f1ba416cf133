//go:build linux

package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect/explain"
	"github.com/weft-mesh/weft/pkg/redirect/sockets"
)

// A place is where a probe can arrive.
type place string

const (
	nowhere    place = ""          // no answer, and nobody on this host has it
	refused    place = "refused"   // answered by RST or ICMP
	unsent     place = "unsent"    // the kernel did not send it
	mine       place = "mine"      // this process, straight
	theProxy   place = "proxy"     // a listener of the proxy
	theAgent   place = "agent"     // the agent's DNS server
	someone    place = "someone"   // another process of this host
	noLonger   place = "no longer" // somebody of this host had it and closed it at once
	left       place = "left"      // about to leave the host
	unanswered place = "unanswered"
)

// A landing is where a probe arrived.
type landing struct {
	place    place
	at       netip.AddrPort // the far end
	by       string         // the process that has it
	waiting  bool           // nobody has taken it from the listener
	original netip.AddrPort // as the proxy reads it; invalid: not read
	err      error
}

const (
	// glance is how long nothing has to come before those are looked for that
	// have no answer.
	glance = 50 * time.Millisecond
	// blink is between two looks at a connection that nobody has taken yet.
	blink = 10 * time.Millisecond
)

// settle waits until every probe has arrived or was refused, or patience ends.
func (r *run) settle(ctx context.Context) {
	began := time.Now()
	quiet := false // nothing came for a while
	for ctx.Err() == nil {
		var (
			fds  []unix.PollFd
			what []func()
			wait = glance
			left = 0
		)
		on := func(fd int, events int16, do func()) {
			fds, what = append(fds, unix.PollFd{Fd: int32(fd), Events: events}), append(what, do)
		}
		for _, s := range r.shots {
			switch {
			case s.skip != "" || s.settled || s.late:
				continue
			case time.Since(began) > s.patience():
				r.lastLook(s)
				continue
			case s.connected:
				r.look(s)
				wait = blink
			case quiet && r.dropped(s):
			case s.flow.UDP:
				on(s.fd, unix.POLLIN, func() { r.arrive(s) })
			default:
				on(s.fd, unix.POLLOUT, func() { r.arrive(s) })
			}
			if !s.settled {
				left++
			}
		}
		if left == 0 {
			return
		}
		for at, fd := range r.servers {
			if at.udp {
				on(fd, unix.POLLIN, func() { answer(fd) })
			}
		}
		n, err := unix.Poll(fds, int(wait.Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		quiet = n <= 0
		for i, f := range fds {
			if f.Revents != 0 {
				what[i]()
			}
		}
	}
}

// dropped settles a probe that is seen to be dropped, by us as it was about to
// leave the host or by anybody: there will be no answer.
func (r *run) dropped(s *shot) bool {
	if r.trace == nil {
		return false
	}
	hops, err := r.trace.Hops(s.follow(r.host))
	if err != nil || len(hops) <= s.seen || hops[len(hops)-1].Verdict != "drop" {
		return false
	}
	last := hops[len(hops)-1]
	s.landing = landing{place: unanswered}
	if last.Left {
		s.landing = landing{place: left, by: last.Out, at: last.To}
	}
	s.settled = true
	return true
}

// patience is how long a probe has. What only the kernel answers comes at
// once; the agent may have to wait for a processor.
func (s *shot) patience() time.Duration {
	if s.flow.UDP && s.want.Verdict == explain.Agent {
		return patienceForAgent
	}
	return patience
}

// lastLook is for a probe whose time is over. Its query may have come to this
// process, which was busy.
func (r *run) lastLook(s *shot) {
	s.late = true
	if s.flow.UDP && s.server >= 0 {
		for answer(s.server) {
		}
		r.arrive(s)
	}
}

// answer answers one query that came to the own server, if there is one.
func answer(fd int) bool {
	b := make([]byte, 2048)
	n, from, err := unix.Recvfrom(fd, b, unix.MSG_DONTWAIT)
	if err != nil {
		return false
	}
	if out, err := reply(b[:n]); err == nil {
		_ = unix.Sendto(fd, out, unix.MSG_DONTWAIT, from)
	}
	return true
}

// arrive looks where a connection or query came to.
func (r *run) arrive(s *shot) {
	s.settled = true
	errno, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	if err != nil {
		s.err = err
		return
	}
	s.from = local(s.fd)
	if s.flow.UDP {
		b := make([]byte, 2048)
		n, _, err := unix.Recvfrom(s.fd, b, unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EAGAIN):
			s.settled = false
		case err != nil:
			s.err = err
		default:
			s.landing = landing{place: map[string]place{agentSays: theAgent, ownSays: mine, "": someone}[said(b[:n], s.token)], by: "a DNS server"}
		}
		return
	}
	s.connected = true
	r.look(s)
}

// look finds the other end of a connection, and settles unless it waits to be
// taken from its listener.
func (r *run) look(s *shot) {
	s.landing = r.farEnd(s)
	s.settled = !s.landing.waiting
}

// farEnd finds the other end of a connection on this host.
func (r *run) farEnd(s *shot) landing {
	if s.server >= 0 && r.accepted(s) {
		return landing{place: mine, at: s.flow.To}
	}
	all, err := sockets.Find(sockets.Query{States: everyState, Remote: s.from.Port()})
	if err != nil {
		return landing{err: err}
	}
	i := slices.IndexFunc(all, func(f sockets.Socket) bool { return f.Remote == s.from && f.Local != s.from })
	if i < 0 {
		return landing{place: noLonger}
	}
	far := all[i]
	l := landing{place: someone, at: far.Local, waiting: far.Inode == 0 && (far.State == sockets.Established || far.State == sockets.SynReceived)}
	if l.waiting {
		return l
	}
	if who, ok := r.listenerOf(far.Local); ok {
		l.place, l.by = theProxy, who.process.String()
		if far.Local.Port() == r.Rules.DNS.To {
			l.place = theAgent
		}
		r.read(&l, who, far, s)
		return l
	}
	in, listens := r.listeners.at(false, r.Rules.Inbound.To, far.Local.Addr().Is4())
	holder, ok := r.holder(far.Inode)
	// eBPF spreads callers with a given source port over loopback, and hands
	// them to the one listener.
	out, outListens := r.listeners.at(false, r.Rules.Outbound.To, far.Local.Addr().Is4())
	switch {
	case outListens && ok && far.Local != s.flow.To && far.Local.Addr().IsLoopback() && slices.Contains(out.pids, holder.PID):
		l.place, l.by = theProxy, out.process.String()
		r.read(&l, out, far, s)
	case listens && in.transparent && far.Transparent, listens && !in.transparent && ok && slices.Contains(in.pids, holder.PID):
		l.place, l.by = theProxy, in.process.String()
		r.read(&l, in, far, s)
	case ok:
		l.by = holder.process.String()
	default:
		l.place = noLonger
	}
	return l
}

// everyState asks for TIME_WAIT as well: who closes at once is there still.
var everyState = []sockets.State{1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12}

// listenerOf is the proxy's or agent's listener that took a connection to its
// own address.
func (r *run) listenerOf(at netip.AddrPort) (listener, bool) {
	i := slices.IndexFunc(r.listeners.tcp, func(l listener) bool { return l.takes(at) })
	if i < 0 {
		return listener{}, false
	}
	return r.listeners.tcp[i], true
}

type holding struct {
	sockets.Descriptor
	process sockets.Process
}

// holder is who has a socket: the proxy, before others are looked at.
func (r *run) holder(inode uint32) (holding, bool) {
	if inode == 0 {
		return holding{}, false
	}
	for _, l := range r.listeners.tcp {
		for _, pid := range l.pids {
			if d, ok := sockets.HeldBy(pid, inode); ok {
				return holding{d, l.process}, true
			}
		}
	}
	all, err := sockets.Holders(inode)
	if err != nil || len(all[inode]) == 0 {
		return holding{}, false
	}
	d := all[inode][0]
	p, err := sockets.Look(d.PID)
	return holding{d, p}, err == nil
}

// read asks for the original destination as the proxy does, if it still has
// the connection.
func (r *run) read(l *landing, who listener, far sockets.Socket, s *shot) {
	for _, pid := range who.pids {
		d, ok := sockets.HeldBy(pid, far.Inode)
		if !ok {
			continue
		}
		if to, err := original(d.PID, d.FD, s.flow.To.Addr().Is4()); err == nil {
			l.original = to
		}
	}
}

// accepted tells whether a probe came to the own listener, from its own end.
func (r *run) accepted(s *shot) bool {
	for {
		fd, peer, err := unix.Accept4(s.server, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		if err != nil {
			return r.came[s.server][s.from]
		}
		_ = unix.Close(fd)
		if r.came[s.server] == nil {
			r.came[s.server] = make(map[netip.AddrPort]bool)
		}
		r.came[s.server][addrPort(peer)] = true
	}
}

// place is where a probe came to, in the end.
func (r *run) place(s *shot) landing {
	l := s.landing
	l.err = s.err
	switch {
	case errors.Is(s.err, unix.ECONNREFUSED), errors.Is(s.err, unix.ECONNRESET):
		l.place = refused
	case errors.Is(s.err, unix.EPERM) && r.dropped(s) && s.landing.place == left:
		return s.landing // the sender of a datagram hears of its end
	case s.err != nil:
		l.place = unsent
	case !s.settled && s.connected:
		return s.landing
	case !s.settled:
		if r.dropped(s) {
			return s.landing
		}
		l.place = unanswered
		if !s.flow.UDP && r.trace == nil && s.want.Verdict == explain.Direct {
			l.place = left
		}
	}
	return l
}

func (l landing) String() string {
	switch l.place {
	case refused:
		return "a refusal"
	case unsent:
		return fmt.Sprintf("it was not sent: %v", l.err)
	case mine:
		return "straight there"
	case theProxy:
		return fmt.Sprintf("the proxy: %s, at %s", l.by, l.at)
	case theAgent:
		return "the agent's DNS server"
	case someone:
		if l.waiting {
			return fmt.Sprintf("a listener at %s, from which nobody takes it", l.at)
		}
		return l.by
	case noLonger:
		return "somebody who closed it at once"
	case left:
		return "straight out by " + l.by
	case unanswered:
		return "no answer"
	}
	return "nowhere"
}
