//go:build linux

package redirecttest

import (
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/internal/testtime"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// trackers are what others have on a host that keeps connection tracking on,
// without NAT and with it. Both number the entries by a mark.
var trackers = map[string]string{
	"a firewall": strictly + numbering,
	"NAT":        strictly + numbering + `table inet theirs { chain output { type nat hook output priority -100; tcp dport 8081 fib daddr type local redirect to :80; }; }`,
}

const numbering = `table inet numbers {
	chain output { type filter hook output priority 300; ct state new ct mark 0 ct mark set numgen inc mod 100000 offset 1; }
	chain forward { type filter hook forward priority 300; ct state new ct mark 0 ct mark set numgen inc mod 100000 offset 200000; }
}
`

// Where others keep connection tracking on, a call that began while the rules
// were away is redirected when it asks again, and a query too, whether the rules
// are mended or applied. Who is answered, excluded, the proxy's or forwarded has
// his entry as before.
func (u suite) begunMeanwhile(t *testing.T) {
	if u.AfterNAT {
		u.endedMeanwhile(t)
		return
	}
	for name, tracker := range trackers {
		for how, back := range map[string]func(t *testing.T, h *testnet.Host){
			"applied": func(t *testing.T, h *testnet.Host) { u.install(t, h, withExclusions()) },
			"mended": func(t *testing.T, h *testnet.Host) {
				keep(t, h, &redirect.Keeper{Engine: u.New(), Rules: withExclusions(), Log: slog.New(slog.DiscardHandler)})
			},
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				t.Parallel()
				s := newScene(t)
				s.play(t)
				s.playDNS(t)
				forward(t, s.host)
				s.host.Pipe(t, tracker, "nft", "-f", "-")
				u.meanwhile(t, s, back)
			})
		}
	}
}

// endedMeanwhile is for engines that act when a call begins and no more: who
// called a service meanwhile is told, instead of calling in vain.
func (u suite) endedMeanwhile(t *testing.T) {
	s := newScene(t)
	s.play(t)
	s.host.Run(t, "ip", append([]string{"route", "add"}, strings.Fields(u.script(flushed[0]))...)...)
	service := netip.AddrPortFrom(families[0].vip, 80)
	answer := make(chan string, 1)
	go func() { answer <- call(s.host, service, testnet.Within(testnet.Patience)) }()
	until(t, testnet.Patience, func() string {
		if !strings.Contains(s.host.Run(t, "cat", "/proc/net/tcp"), ":0050 02 ") { // SYN_SENT to port 80
			return "nobody calls"
		}
		return ""
	})
	watch := testtime.Start(t)
	u.install(t, s.host, everything())
	if got, want := <-answer, "connection abort"; !strings.Contains(got, want) {
		t.Errorf("who had called a service was told %q, want %q", got, want)
	}
	t.Logf("he was told %s after the rules began to come back", watch.Took().Round(time.Millisecond))
	if got, want := call(s.host, service), "outbound "+service.String(); got != want {
		t.Errorf("%s, called again, was answered by %q, want %q", service, got, want)
	}
}

// flushed are the routes that are there when somebody has flushed the rules.
var flushed = []string{"240.0.0.0/4 dev lo proto 87 src 127.0.0.1", "fd57:6566:7400::/64 dev lo proto 87 src ::1"}

// The ports from which calls are made, in both families.
const (
	fromService = 20001 + iota
	fromSilent
	fromDNS
	fromUser
	fromPeer
	fromProxy
	fromOpen
	fromElsewhere
)

func (u suite) meanwhile(t *testing.T, s scene, back func(t *testing.T, h *testnet.Host)) {
	t.Helper()
	mute := func(h *testnet.Host, what string) {
		h.Pipe(t, "table inet mute { chain input { type filter hook input priority 0; "+what+"; }; }", "nft", "-f", "-")
	}
	mute(s.client, "tcp dport { 53, 81 } drop; udp dport 53 drop")
	mute(s.peer, "tcp dport 81 drop")
	var queries []*testnet.Conn
	beyond := make(map[string]netip.AddrPort)
	for i, f := range families {
		s.host.Run(t, "ip", append([]string{"route", "add"}, strings.Fields(u.script(flushed[i]))...)...)

		to := pick(f, netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("2001:db8:99::1"))
		beyond[f.name] = netip.AddrPortFrom(to, 80)
		prefix := netip.PrefixFrom(to, to.BitLen()).String()
		s.host.Run(t, "ip", "route", "add", prefix, "via", f.of(s.peer).String())
		s.client.Run(t, "ip", "route", "add", prefix, "via", f.of(s.host).String())

		l := s.client.Listen(t, f.at(s.client, 9999).String())
		near := s.host.Dial(t, "tcp", f.at(s.client, 9999).String(), testnet.From(f.at(s.host, fromOpen)))
		far := l.Accept(t)
		exchange(t, near, far)
		defer exchange(t, near, far)

		for _, server := range []struct {
			*testnet.Host
			says string
		}{{s.client, silence}, {s.peer, "peer q"}} {
			c := s.host.Dial(t, "udp", f.at(server.Host, 53).String())
			if got := ask(c, quiet); got != server.says {
				t.Errorf("%s: a query before the rules was answered by %q, want %q", f.name, got, server.says)
			}
			queries = append(queries, c)
		}
	}

	var calls sync.WaitGroup
	defer calls.Wait()
	begin := func(from *testnet.Host, to, by netip.AddrPort, within time.Duration, opts ...testnet.Option) <-chan string {
		answer := make(chan string, 1)
		calls.Go(func() { answer <- call(from, to, append(opts, testnet.From(by), testnet.Within(within))...) })
		return answer
	}
	const passing = 5 * time.Second // of calls that nobody will answer
	wanted := make(map[string]<-chan string)
	for _, f := range families {
		service, silent := netip.AddrPortFrom(f.vip, 80), f.at(s.client, 81)
		if service.Addr().Is4() { // by IPv6 nobody waits: without rules the kernel says that there is no way
			wanted["outbound "+service.String()] = begin(s.host, service, f.at(s.host, fromService), testnet.Patience)
		}
		wanted["outbound "+silent.String()] = begin(s.host, silent, f.at(s.host, fromSilent), testnet.Patience)
		wanted["agent over "+f.name] = begin(s.host, f.at(s.client, 53), f.at(s.host, fromDNS), testnet.Patience)
		begin(s.host, silent, f.at(s.host, fromUser), passing, testnet.UID(4242))
		begin(s.host, f.at(s.peer, 81), f.at(s.host, fromPeer), passing)
		begin(s.host, silent, f.at(s.host, fromProxy), passing, testnet.Mark(markOutbound))
		begin(s.client, beyond[f.name], f.at(s.client, fromElsewhere), passing)
	}
	var before map[string]string
	until(t, testnet.Patience, func() string {
		before = numbered(t, s.host)
		if len(before) < len(families)*(fromElsewhere-fromService+1)-1 {
			return fmt.Sprintf("not all have begun: %v", before)
		}
		return ""
	})

	watch := testtime.Start(t)
	back(t, s.host)
	u.agrees(t, s.host, withExclusions())
	after := numbered(t, s.host)
	for _, f := range []string{"ipv4", "ipv6"} {
		for port, whose := range map[int]string{fromUser: "an excluded user", fromPeer: "an excluded network", fromProxy: "the proxy", fromOpen: "an open connection", fromElsewhere: "others"} {
			if key := fmt.Sprintf("%s %d", f, port); before[key] != after[key] {
				t.Errorf("%s: the entry of %s was number %s and is %q", f, whose, before[key], after[key])
			}
		}
	}
	for _, c := range queries {
		if got := ask(c, testnet.Patience); got != "agent q" {
			t.Errorf("a query to %s on a socket from before was answered by %q", c.Remote(), got)
		}
	}
	for want, answer := range wanted {
		word, _, _ := strings.Cut(want, " over")
		if got := <-answer; got != word {
			t.Errorf("who began before the rules was answered by %q, want %q", got, want)
		}
	}
	t.Logf("all were answered %s after the rules began to come back", watch.Took().Round(time.Millisecond))
}

var entry = regexp.MustCompile(`(?m)^(ipv[46]) .* tcp .*? sport=(200\d\d) .* mark=(\d+)`)

// numbered are the numbers of a host's entries, by family and source port.
func numbered(t *testing.T, h *testnet.Host) map[string]string {
	t.Helper()
	out := make(map[string]string)
	for _, m := range entry.FindAllStringSubmatch(h.Run(t, "cat", "/proc/net/nf_conntrack"), -1) {
		out[m[1]+" "+m[2]] = m[3]
	}
	return out
}
