//go:build linux

package bench

import (
	"context"
	"fmt"
	"io"
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

// BenchmarkConnect measures what redirection costs a connection that opens,
// reads a byte and closes: out by a minimal proxy at loopback, and in by one
// that keeps destination and port. "direct" has neither rules nor proxy in its
// way: most of what is above it is the proxy's, the rest the engine's.
func BenchmarkConnect(b *testing.B) {
	redirecttest.MountBPF(b)
	folder := redirecttest.OwnCgroup(b)
	for _, engine := range []struct {
		name string
		redirect.Redirector
	}{
		{"direct", nil},
		{"nftables", nftables.New()},
		{"iptables-nft", iptables.New(iptables.WithFlavour(iptables.NFT))},
		{"iptables-legacy", iptables.New(iptables.WithFlavour(iptables.Legacy))},
		{"ebpf", ebpf.New(ebpf.WithCgroup(folder))},
	} {
		for _, way := range []string{"outbound", "inbound"} {
			b.Run(way+"/"+engine.name, func(b *testing.B) {
				hosts := testnet.Hosts(b, 2)
				host, peer := hosts[0], hosts[1]
				r := redirecttest.Broken()
				r.Outbound.ExcludeDestinations, r.Inbound.ExcludeSources = nil, nil
				for _, h := range hosts {
					h.Listen(b, "0.0.0.0:8080").Serve(func(*testnet.Conn) string { return "." })
				}
				relay(b, host, fmt.Sprintf("127.0.0.1:%d", r.Outbound.To), r.Marks.Outbound, func(c *testnet.Conn) (netip.AddrPort, error) { return c.OriginalDestination() })
				relay(b, host, fmt.Sprintf("0.0.0.0:%d", r.Inbound.To), r.Marks.Inbound, func(c *testnet.Conn) (netip.AddrPort, error) {
					return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), c.Local().Port()), nil
				}, testnet.Transparent())
				if engine.Redirector != nil {
					if err := host.Do(func() error { return engine.Apply(b.Context(), r) }); err != nil {
						b.Fatal(err)
					}
					b.Cleanup(func() {
						if err := host.Do(func() error { return engine.Remove(context.Background(), "") }); err != nil {
							b.Error(err)
						}
					})
				}
				if way == "outbound" {
					connections(b, host, netip.AddrPortFrom(peer.IP4, 8080))
				} else {
					connections(b, peer, netip.AddrPortFrom(host.IP4, 8080))
				}
			})
		}
	}
}

// relay is a proxy for connections of one byte.
func relay(b *testing.B, h *testnet.Host, at string, mark uint32, to func(*testnet.Conn) (netip.AddrPort, error), opts ...testnet.Option) {
	h.Listen(b, at, opts...).Serve(func(c *testnet.Conn) string {
		dst, err := to(c)
		if err != nil {
			return ""
		}
		up, err := h.TryDial("tcp", dst.String(), testnet.Mark(mark))
		if err != nil {
			return ""
		}
		defer up.Close()
		text, _ := io.ReadAll(up)
		return string(text)
	})
}

// connections opens b.N of them, four at once.
func connections(b *testing.B, from *testnet.Host, to netip.AddrPort) {
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
				c, err := from.TryDial("tcp", to.String())
				if err != nil {
					b.Error(err)
					continue
				}
				text, err := io.ReadAll(c)
				_ = c.Close()
				if err != nil || string(text) != "." {
					b.Errorf("%s answered %q, %v", to, text, err)
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
	slices.Sort(took)
	at := func(share float64) float64 {
		return float64(took[int(share*float64(len(took)-1))].Microseconds())
	}
	b.ReportMetric(at(0.5), "p50-µs")
	b.ReportMetric(at(0.99), "p99-µs")
	b.ReportMetric(float64(len(took))/all.Seconds(), "conns/s")
}
