package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// A TCP client is dropped when it sends nothing for tcpIdle, or takes nothing
// for tcpWrite.
const (
	tcpIdle  = 10 * time.Second
	tcpWrite = 5 * time.Second
	// tcpLast is how long a query may be on its way when the server ends.
	tcpLast = 200 * time.Millisecond
)

// acceptPause is how long we leave others time to close files when there are
// none free.
const acceptPause = 100 * time.Millisecond

// handle replies to one message, at once if it can, else from a goroutine of
// done's. raw is reply's to keep. A nil answer is none. Whoever asks directly is
// told where hosts outside really are.
func (s *Server) handle(ctx context.Context, network string, direct bool, raw []byte, done *sync.WaitGroup, reply func([]byte)) {
	q, code, ok := parse(raw, network == "tcp")
	if !ok {
		return
	}
	if code != dnsmessage.RCodeSuccess {
		reply(begin(&q, code).bytes())
		return
	}
	later := func(find func() []byte) {
		select {
		case s.slots <- struct{}{}:
		default:
			reply(begin(&q, dnsmessage.RCodeServerFailure).bytes())
			return
		}
		done.Go(func() {
			defer func() { <-s.slots }()
			// Who is not answered asks again, and asks the next server.
			if b := find(); ctx.Err() == nil {
				reply(b)
			}
		})
	}
	t := s.table.Load()
	if b := answer(t, s.cfg.Domain, &q); b != nil {
		if t == nil && b[3]&maskRCode == byte(dnsmessage.RCodeServerFailure) {
			later(func() []byte { return s.awaited(ctx, &q) })
			return
		}
		reply(b)
		return
	}
	if b := outsider(t, &q); b != nil && !direct {
		reply(b)
		return
	}
	if b := s.fwd.kept(network, &q); b != nil {
		reply(b)
		return
	}
	later(func() []byte {
		b, err := s.fwd.exchange(ctx, network, &q)
		if err != nil {
			s.log.Debug("query not answered", "type", q.typ.String(), "error", err)
			b = begin(&q, dnsmessage.RCodeServerFailure).bytes()
		}
		return b
	})
}

// awaited answers by the first table, if that comes in time.
func (s *Server) awaited(ctx context.Context, q *query) []byte {
	select {
	case <-s.known:
	case <-time.After(tableTime):
	case <-ctx.Done():
	}
	return answer(s.table.Load(), s.cfg.Domain, q)
}

// serveUDP reads until ctx ends, and answers what it has read until answering
// does.
func (s *Server) serveUDP(ctx, answering context.Context, conn *net.UDPConn, direct bool) error {
	var done sync.WaitGroup
	defer done.Wait()
	buf := make([]byte, 0xffff)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		switch {
		case err == nil:
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return nil
		default:
			return fmt.Errorf("dns: read from %s: %w", conn.LocalAddr(), err)
		}
		raw := append(make([]byte, 0, n), buf[:n]...)
		s.handle(answering, "udp", direct, raw, &done, func(b []byte) {
			if _, err := conn.WriteToUDPAddrPort(b, from); err != nil && ctx.Err() == nil {
				s.log.Debug("answer not sent", "to", from.String(), "error", err)
			}
		})
	}
}

func (s *Server) serveTCP(ctx, answering context.Context, l *net.TCPListener, direct bool) error {
	var done sync.WaitGroup
	defer done.Wait()
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return nil
		case errors.Is(err, errFiles) || errors.Is(err, errAllFiles):
			s.log.Warn("connection not accepted: no file descriptor free", "address", l.Addr().String())
			select {
			case <-ctx.Done():
			case <-time.After(acceptPause):
			}
			continue
		default:
			return fmt.Errorf("dns: accept on %s: %w", l.Addr(), err)
		}
		select {
		case s.conns <- struct{}{}:
		default:
			_ = conn.Close()
			continue
		}
		done.Go(func() {
			defer func() { <-s.conns }()
			s.serveConn(ctx, answering, conn, direct)
		})
	}
}

// serveConn answers one client. Answers go out as they come, so that a slow
// one holds up no other (RFC 7766, 6.2.1.1).
func (s *Server) serveConn(ctx, answering context.Context, conn net.Conn, direct bool) {
	defer conn.Close()
	defer context.AfterFunc(answering, func() { _ = conn.Close() })()
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now().Add(tcpLast)) })()
	var done sync.WaitGroup
	defer done.Wait()
	var mu sync.Mutex
	reply := func(b []byte) {
		mu.Lock()
		defer mu.Unlock()
		_ = conn.SetWriteDeadline(time.Now().Add(tcpWrite))
		msg := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(b)), uint16(len(b)))
		if _, err := conn.Write(append(msg, b...)); err != nil {
			_ = conn.Close()
		}
	}
	for {
		if ctx.Err() == nil {
			_ = conn.SetReadDeadline(time.Now().Add(tcpIdle))
		}
		raw, err := readTCP(conn)
		if err != nil {
			return
		}
		s.handle(answering, "tcp", direct, raw, &done, reply)
	}
}
