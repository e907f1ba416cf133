//go:build linux

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/redirecttest"
	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/ebpf"
	"github.com/weft-mesh/weft/pkg/redirect/iptables"
	"github.com/weft-mesh/weft/pkg/redirect/nftables"
)

// A course is how connections get to their server: directly, by a proxy that
// is called by its own address, or by one that an engine brings them to.
type course struct {
	name   string
	engine redirect.Redirector
	proxy  bool
	method redirect.Method
	ways   []string
}

var bothWays = []string{"outbound", "inbound"}

func courses(b *testing.B) []course {
	redirecttest.MountBPF(b)
	return []course{
		{name: "direct", ways: bothWays},
		{name: "proxy", proxy: true, ways: bothWays},
		{name: "nftables", engine: nftables.New(), ways: bothWays}, // out by REDIRECT, in by TPROXY
		{name: "nftables-rewrite", engine: nftables.New(), method: redirect.Rewrite, ways: bothWays[1:]},
		{name: "iptables-nft", engine: iptables.New(iptables.WithFlavour(iptables.NFT)), ways: bothWays},
		{name: "iptables-legacy", engine: iptables.New(iptables.WithFlavour(iptables.Legacy)), ways: bothWays},
		{name: "ebpf", engine: ebpf.New(ebpf.WithCgroup(redirecttest.OwnCgroup(b))), ways: bothWays},
	}
}

// race runs a benchmark on every course.
func race(b *testing.B, run func(b *testing.B, from *testnet.Host, to netip.AddrPort)) {
	all := courses(b)
	for _, way := range bothWays {
		for _, c := range all {
			if slices.Contains(c.ways, way) {
				b.Run(way+"/"+c.name, func(b *testing.B) {
					from, to := c.lay(b, way == "inbound")
					run(b, from, to)
				})
			}
		}
	}
}

// lay makes two hosts, a server on the far one, and a proxy on the one whose
// traffic is redirected. It returns who calls, and what.
func (c course) lay(b *testing.B, inbound bool) (*testnet.Host, netip.AddrPort) {
	hosts := testnet.Hosts(b, 2)
	caller, called := hosts[0], hosts[1]
	server := netip.AddrPortFrom(called.IP4, 8080)
	each(called.Listen(b, "0.0.0.0:8080"), func(c *net.TCPConn) { pass(c, c) })
	r := redirecttest.Broken()
	r.Outbound.ExcludeDestinations, r.Inbound.ExcludeSources = nil, nil
	r.Inbound.Method = c.method
	host, at, mark := caller, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), r.Outbound.To), r.Marks.Outbound
	var opts []testnet.Option
	if inbound {
		host, at, mark = called, netip.AddrPortFrom(netip.IPv4Unspecified(), r.Inbound.To), r.Marks.Inbound
		if c.engine != nil && c.method != redirect.Rewrite {
			opts = append(opts, testnet.Transparent())
		}
	}
	switch {
	case c.proxy:
		relay(host, host.Listen(b, at.String()), mark, func(*testnet.Conn) netip.AddrPort { return server })
		if inbound {
			at = netip.AddrPortFrom(called.IP4, at.Port())
		}
		return caller, at
	case c.engine != nil:
		relay(host, host.Listen(b, at.String(), opts...), mark, original)
		if err := host.Do(func() error { return c.engine.Apply(b.Context(), r) }); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := host.Do(func() error { return c.engine.Remove(context.Background(), "") }); err != nil {
				b.Error(err)
			}
		})
	}
	return caller, server
}

// original is where the caller wanted to go: what the kernel tells, else where
// the connection arrived.
func original(c *testnet.Conn) netip.AddrPort {
	if to, err := c.OriginalDestination(); err == nil {
		return to
	}
	return c.Local()
}

// each serves every connection until the listener is closed.
func each(l *testnet.Listener, serve func(*net.TCPConn)) {
	go func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
}

// relay is a proxy of the least kind: it asks where to, calls there and copies.
func relay(h *testnet.Host, l *testnet.Listener, mark uint32, to func(*testnet.Conn) netip.AddrPort) {
	each(l, func(c *net.TCPConn) {
		called, err := h.TryDial("tcp", to(&testnet.Conn{Conn: c}).String(), testnet.Mark(mark))
		if err != nil {
			return
		}
		defer called.Close()
		up := called.Conn.(*net.TCPConn)
		var both sync.WaitGroup
		for _, pair := range [][2]*net.TCPConn{{up, c}, {c, up}} {
			both.Go(func() {
				pass(pair[0], pair[1])
				_ = pair[0].CloseWrite()
			})
		}
		both.Wait()
	})
}

// pass copies until the end, through memory of this program as Envoy does:
// io.Copy would have the kernel move bytes between two connections.
func pass(to, from *net.TCPConn) {
	_, _ = io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{from})
}

// BenchmarkConnect measures connections that open, have one byte answered and
// close, four callers at once.
func BenchmarkConnect(b *testing.B) {
	race(b, func(b *testing.B, from *testnet.Host, to netip.AddrPort) {
		const callers = 4
		var (
			group sync.WaitGroup
			mu    sync.Mutex
			took  []time.Duration
		)
		turns := make(chan struct{})
		for range callers {
			group.Go(func() {
				for range turns {
					began := time.Now()
					if err := once(from, to); err != nil {
						b.Error(err)
					}
					d := time.Since(began)
					mu.Lock()
					took = append(took, d)
					mu.Unlock()
				}
			})
		}
		began := time.Now()
		for b.Loop() {
			turns <- struct{}{}
		}
		close(turns)
		group.Wait()
		all := time.Since(began)
		report(b, took)
		b.ReportMetric(float64(len(took))/all.Seconds(), "conns/s")
	})
}

// once opens a connection, has one byte answered and closes it.
func once(from *testnet.Host, to netip.AddrPort) error {
	c, err := from.TryDial("tcp", to.String())
	if err != nil {
		return err
	}
	_, err = c.Write([]byte{1})
	if err == nil {
		_ = c.SetReadDeadline(time.Now().Add(testnet.Patience))
		_, err = io.ReadFull(c, make([]byte, 1))
	}
	if err != nil {
		err = fmt.Errorf("have a byte answered by %s: %w", to, err)
	}
	return errors.Join(err, c.Close())
}

// BenchmarkLong measures one connection that stays: 64 bytes there and back,
// then 256 MiB there and back.
func BenchmarkLong(b *testing.B) {
	race(b, func(b *testing.B, from *testnet.Host, to netip.AddrPort) {
		c := from.Dial(b, "tcp", to.String())
		message := make([]byte, 64)
		var took []time.Duration
		for b.Loop() {
			began := time.Now()
			if _, err := c.Write(message); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(c, message); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(began))
		}
		report(b, took)
		const bytes = 256 << 20
		began := time.Now()
		go func() {
			block := make([]byte, 64<<10)
			for range bytes / len(block) {
				if _, err := c.Write(block); err != nil {
					return // who reads will tell
				}
			}
		}()
		if _, err := io.CopyN(io.Discard, c, bytes); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(bytes/1e6/time.Since(began).Seconds(), "MB/s")
	})
}

func report(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(0, "ns/op") // the percentiles say it
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, "p99-µs")
}
