package dns

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// How long we wait: after nextAfter without an answer the next server is asked
// as well, after giveUp the client is told. A server that let nextAfter pass
// is asked last for deadFor.
const (
	nextAfter = time.Second
	giveUp    = 5 * time.Second
	deadFor   = 10 * time.Second
)

// A forwarder passes queries on to the host's resolvers.
type forwarder struct {
	conf resolvConf
	mark uint32
	own  []netip.AddrPort // where we listen: never asked

	cache *cache

	mu   sync.Mutex
	dead map[netip.AddrPort]time.Time // until when
}

func newForwarder(cfg Config) *forwarder {
	f := &forwarder{
		conf:  resolvConf{path: cfg.ResolvConf, port: 53},
		mark:  cfg.Mark,
		cache: newCache(),
		dead:  map[netip.AddrPort]time.Time{},
	}
	f.conf.changed = f.cache.forget
	return f
}

// kept returns the answer to q from the cache, nil where there is none. One that
// is too large for the client by UDP has him ask by TCP.
func (f *forwarder) kept(network string, q *query) []byte {
	now := time.Now()
	// What other resolvers have said is not theirs.
	if _, err := f.conf.get(now); err != nil {
		return nil
	}
	b := f.cache.get(q, cacheKey(q), now)
	if len(b) > q.size && network == "udp" {
		r := begin(q, dnsmessage.RCodeSuccess)
		r.b[2] |= bitTruncated
		return r.bytes()
	}
	return b
}

var errNoServer = errors.New("no server to ask")

// An outcome is what one server did.
type outcome struct {
	server netip.AddrPort
	answer []byte
	err    error
}

// exchange returns the first good answer to q, with the client's id, asking
// the servers in turn without giving up on those asked before. network is
// "udp" or "tcp". When all it gets is a refusal it returns that.
func (f *forwarder) exchange(ctx context.Context, network string, q *query) ([]byte, error) {
	servers, err := f.servers(time.Now())
	if len(servers) == 0 {
		return nil, errors.Join(errNoServer, err)
	}
	ctx, cancel := context.WithTimeout(ctx, giveUp)
	defer cancel()
	outcomes := make(chan outcome, len(servers))
	ask := func(s netip.AddrPort) {
		go func() {
			answer, err := f.ask(ctx, network, s, q)
			outcomes <- outcome{s, answer, err}
		}()
	}
	next := time.NewTimer(nextAfter)
	defer next.Stop()
	ask(servers[0])
	asked, waiting := 1, 1
	more := func() {
		if asked < len(servers) {
			ask(servers[asked])
			asked, waiting = asked+1, waiting+1
			next.Reset(nextAfter)
		}
	}
	var refusal []byte
	for waiting > 0 {
		select {
		case <-next.C:
			f.setDead(servers[asked-1], true)
			more()
		case o := <-outcomes:
			waiting--
			if o.err == nil && !refused(o.answer) {
				f.setDead(o.server, false)
				f.cache.put(q, cacheKey(q), slices.Clone(o.answer), time.Now())
				return o.answer, nil
			}
			if o.err == nil {
				refusal = o.answer
			} else {
				err = o.err
				f.setDead(o.server, ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded))
			}
			more()
		}
	}
	if refusal != nil {
		return refusal, nil
	}
	return nil, err
}

// refused says that another server may know better.
func refused(answer []byte) bool {
	code := dnsmessage.RCode(answer[3] & maskRCode)
	return code == dnsmessage.RCodeServerFailure || code == dnsmessage.RCodeRefused || code == dnsmessage.RCodeNotImplemented
}

// servers returns whom to ask, in the file's order, the dead ones last.
func (f *forwarder) servers(now time.Time) ([]netip.AddrPort, error) {
	all, err := f.conf.get(now)
	f.mu.Lock()
	defer f.mu.Unlock()
	var alive, dead []netip.AddrPort
	for _, s := range all {
		switch {
		case f.isOwn(s):
		case now.Before(f.dead[s]):
			dead = append(dead, s)
		default:
			alive = append(alive, s)
		}
	}
	return append(alive, dead...), err
}

func (f *forwarder) isOwn(s netip.AddrPort) bool {
	return slices.ContainsFunc(f.own, func(o netip.AddrPort) bool {
		return o == s || (o.Port() == s.Port() && o.Addr().IsUnspecified() && s.Addr().IsLoopback())
	})
}

func (f *forwarder) setDead(s netip.AddrPort, dead bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if dead {
		f.dead[s] = time.Now().Add(deadFor)
	} else {
		delete(f.dead, s)
	}
}

// ask sends q to one server, from a port and with an id of chance, and waits
// for its answer until ctx ends.
func (f *forwarder) ask(ctx context.Context, network string, server netip.AddrPort, q *query) ([]byte, error) {
	d := net.Dialer{Control: f.control}
	conn, err := d.DialContext(ctx, network, server.String())
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", server, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()

	var id [2]byte
	rand.Read(id[:]) // never fails
	answer, err := roundTrip(conn, network == "tcp", id, q)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", server, err)
	}
	copy(answer, q.raw[:2])
	return answer, nil
}

func roundTrip(conn net.Conn, tcp bool, id [2]byte, q *query) ([]byte, error) {
	msg := make([]byte, 0, 2+len(q.raw))
	if tcp {
		msg = binary.BigEndian.AppendUint16(msg, uint16(len(q.raw)))
	}
	msg = append(append(msg, id[:]...), q.raw[2:]...)
	if _, err := conn.Write(msg); err != nil {
		return nil, err
	}
	want := binary.BigEndian.Uint16(id[:])
	if tcp {
		answer, err := readTCP(conn)
		if err == nil && !matches(answer, want, q.question()) {
			err = errors.New("answer does not fit the question")
		}
		return answer, err
	}
	buf := make([]byte, 0xffff)
	for {
		// The socket is connected: the kernel drops what others send.
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		if matches(buf[:n], want, q.question()) {
			return slices.Clone(buf[:n]), nil
		}
	}
}

// readTCP reads one message behind its length (RFC 1035, 4.2.2).
func readTCP(r io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(r, msg); err != nil {
		return nil, err
	}
	return msg, nil
}
