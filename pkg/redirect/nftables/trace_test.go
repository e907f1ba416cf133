//go:build linux

package nftables

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// A packet is followed through everybody's rules, and one that would leave the
// host does not.
func TestTrace(t *testing.T) {
	hosts := testnet.Hosts(t, 2)
	h, peer := hosts[0], hosts[1]
	install(t, h, everything())
	h.Listen(t, "127.0.0.1:15001")
	h.Run(t, "iptables-nft", "-A", "OUTPUT", "-p", "tcp", "--dport", "7", "-m", "comment", "--comment", "a neighbour's", "-j", "DROP")
	arrived := peer.Listen(t, netip.AddrPortFrom(peer.IP4, 80).String())
	was := h.Run(t, "nft", "list", "tables")
	type call struct {
		port uint16 // of ours
		to   netip.AddrPort
		mark uint32
	}
	captured, leaving, dropped := call{40001, netip.AddrPortFrom(peer.IP4, 80), 0}, call{40002, netip.AddrPortFrom(peer.IP4, 80), everything().Marks.Outbound}, call{40003, netip.AddrPortFrom(peer.IP4, 7), everything().Marks.Outbound}
	follow := func(c call) redirect.Follow { return redirect.Follow{FromPort: c.port, To: c.to, Keep: true} }
	var trace redirect.Trace
	if err := h.Do(func() (err error) {
		trace, err = Tracer{}.Trace(t.Context(), []redirect.Follow{follow(captured), follow(leaving), follow(dropped)})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []call{captured, leaving, dropped} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			conn, err := h.TryDial("tcp", c.to.String(), testnet.Mark(c.mark), testnet.From(netip.AddrPortFrom(h.IP4, c.port)), testnet.Within(time.Second))
			if err == nil {
				_ = conn.Close()
			}
		}()
		if c == captured {
			<-done
		} else {
			t.Cleanup(func() { <-done })
		}
	}
	hops := func(c call) (out []redirect.Hop) {
		t.Helper()
		if err := h.Do(func() (err error) {
			out, err = trace.Hops(follow(c))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	until(t, testnet.Patience, "all is traced", func() bool {
		gone, lost := hops(leaving), hops(dropped)
		return len(gone) > 0 && gone[len(gone)-1].Left && len(lost) > 0 && strings.Contains(lost[len(lost)-1].String(), "drop")
	})
	text := func(c call) string {
		var b strings.Builder
		for _, h := range hops(c) {
			b.WriteString(h.String() + "\n")
		}
		return b.String()
	}
	if got := text(captured); !strings.Contains(got, `rule "outbound: to the proxy" of chain outbound in table inet weft: accept`) {
		t.Errorf("captured:\n%s", got)
	}
	if all := hops(leaving); len(all) == 0 || !all[len(all)-1].Left || all[len(all)-1].Out != "eth0" {
		t.Errorf("leaving:\n%s%+v", text(leaving), all)
	}
	if got := text(dropped); !strings.HasSuffix(got, `rule "a neighbour's" of chain OUTPUT in table ip filter: drop`+"\n") {
		t.Errorf("dropped:\n%s", got)
	}
	if err := trace.Close(); err != nil {
		t.Error(err)
	}
	if now := h.Run(t, "nft", "list", "tables"); now != was && now != was+"table ip filter\n" {
		t.Errorf("left behind:\n%s", now)
	}
	_ = arrived.SetDeadline(time.Now())
	if c, err := arrived.AcceptTCP(); err == nil {
		t.Errorf("a packet left the host: %s called", c.RemoteAddr())
	}
}
