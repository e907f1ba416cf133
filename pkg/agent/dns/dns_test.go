package dns

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/weft-mesh/weft/pkg/proxy"
)

var networks = []string{"udp4", "udp6", "tcp4", "tcp6"}

func TestAnswersTheMesh(t *testing.T) {
	port, ups := upstreams(t, says("outside"))
	g := newRig(t, port, hosts(ups))
	g.SetNames(testNames)
	for _, tt := range []struct {
		name string
		typ  dnsmessage.Type
		want string
	}{
		{"api.mesh.", dnsmessage.TypeA, "Success aa api.mesh. 30 A 240.0.0.1"},
		{"api.mesh.", dnsmessage.TypeAAAA, "Success aa api.mesh. 30 AAAA fd57:6566:7400::1"},
		{"aPi.MeSH.", dnsmessage.TypeA, "Success aa aPi.MeSH. 30 A 240.0.0.1"},
		{"v4.mesh.", dnsmessage.TypeAAAA, "Success aa v4.mesh."},
		{"api.mesh.", dnsmessage.TypeMX, "Success aa api.mesh."},
		{"api.mesh.", dnsmessage.Type(65), "Success aa api.mesh."}, // HTTPS
		{"nobody.mesh.", dnsmessage.TypeA, "NameError aa nobody.mesh."},
		{"api.mesh.", dnsmessage.TypeSRV, "Success aa api.mesh. 30 SRV 80 api.mesh."},
		{"_http._tcp.api.mesh.", dnsmessage.TypeSRV, "Success aa _http._tcp.api.mesh. 30 SRV 80 api.mesh."},
		{"v4.mesh.", dnsmessage.TypeSRV, "Success aa v4.mesh. 30 SRV 8080 v4.mesh. 30 SRV 8443 v4.mesh."},
		{"_http._tcp.api.mesh.", dnsmessage.TypeA, "Success aa _http._tcp.api.mesh."},
		{"_http._udp.api.mesh.", dnsmessage.TypeSRV, "NameError aa _http._udp.api.mesh."},
		{"_http._tcp.nobody.mesh.", dnsmessage.TypeSRV, "NameError aa _http._tcp.nobody.mesh."},
		{"b.deep.mesh.", dnsmessage.TypeA, "Success aa b.deep.mesh."}, // between names
		{"mesh.", dnsmessage.TypeSOA, "Success aa mesh."},
		{"1.0.0.240.in-addr.arpa.", dnsmessage.TypePTR, "Success aa 1.0.0.240.in-addr.arpa. 30 PTR api.mesh."},
		{"9.0.0.240.in-addr.arpa.", dnsmessage.TypePTR, "NameError aa 9.0.0.240.in-addr.arpa."},
		{"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.4.7.6.6.5.6.7.5.d.f.ip6.arpa.", dnsmessage.TypePTR,
			"Success aa 1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.4.7.6.6.5.6.7.5.d.f.ip6.arpa. 30 PTR api.mesh."},
		{"mesh.example.", dnsmessage.TypeTXT, "Success mesh.example. outside"},
		{"amesh.", dnsmessage.TypeTXT, "Success amesh. outside"},
		{"1.0.0.10.in-addr.arpa.", dnsmessage.TypePTR, "Success 1.0.0.10.in-addr.arpa. outside"},
	} {
		for _, network := range networks {
			for _, edns := range []int{0, 4096} {
				msg := pack(77, tt.name, tt.typ, edns)
				got := g.ask(network, msg)
				if show(got) != tt.want || binary.BigEndian.Uint16(got) != 77 {
					t.Errorf("%s %s %s: %s, want %s", network, tt.name, tt.typ, show(got), tt.want)
				}
				if hasOPT := got[11] == 1; hasOPT != (edns > 0) {
					t.Errorf("%s %s: EDNS in the answer: %v", network, tt.name, hasOPT)
				}
			}
		}
	}
	for _, u := range ups {
		for _, q := range u.asked() {
			if strings.HasSuffix(q, ".mesh") || strings.Contains(q, "240.in-addr") {
				t.Errorf("%q left the host", q)
			}
		}
	}
}

// A host outside that is called through the mesh is where the mesh says, and
// only that host; whoever asks directly is told the truth.
func TestHostsOutside(t *testing.T) {
	port, ups := upstreams(t, says("outside"))
	g := newRig(t, port, hosts(ups), func(c *Config) { c.Direct = []string{"127.0.0.1:0"} })
	g.SetNames(append(slices.Clone(testNames), proxy.Name{Name: "Pay.Example.com", Addresses: addrs("240.0.0.7")}))
	for _, tt := range []struct {
		name string
		typ  dnsmessage.Type
		want string
	}{
		{"pay.example.com.", dnsmessage.TypeA, "Success pay.example.com. 5 A 240.0.0.7"},
		{"PAY.example.com.", dnsmessage.TypeA, "Success PAY.example.com. 5 A 240.0.0.7"},
		{"pay.example.com.", dnsmessage.TypeAAAA, "Success pay.example.com."},
		{"pay.example.com.", dnsmessage.Type(65), "Success pay.example.com."}, // HTTPS, which may hold addresses
		{"pay.example.com.", dnsmessage.TypeTXT, "Success pay.example.com. outside"},
		{"www.pay.example.com.", dnsmessage.TypeTXT, "Success www.pay.example.com. outside"},
		{"example.com.", dnsmessage.TypeTXT, "Success example.com. outside"},
		{"api.mesh.", dnsmessage.TypeA, "Success aa api.mesh. 30 A 240.0.0.1"},
	} {
		for _, network := range networks {
			if got := show(g.ask(network, pack(77, tt.name, tt.typ, 0))); got != tt.want {
				t.Errorf("%s %s %s: %s, want %s", network, tt.name, tt.typ, got, tt.want)
			}
		}
	}
	if len(ups[0].asked()) == 0 {
		t.Error("nothing was asked outside")
	}
	before := len(ups[0].asked())
	for _, network := range []string{"udp4", "tcp4"} {
		g.askAt(network, g.fwd.own[2], pack(77, "pay.example.com.", dnsmessage.TypeA, 0))
	}
	if got := ups[0].asked()[before:]; len(got) != 2 {
		t.Errorf("asked directly, %v was asked outside", got)
	}
}

func TestBeforeTheFirstTable(t *testing.T) {
	port, ups := upstreams(t, says("outside"))
	g := newRig(t, port, hosts(ups))
	if got := show(g.ask("udp4", pack(1, "api.mesh.", dnsmessage.TypeA, 0))); got != "ServerFailure api.mesh." { // after tableTime
		t.Errorf("mesh name: %s", got)
	}
	if got := show(g.ask("udp4", pack(1, "example.", dnsmessage.TypeTXT, 0))); got != "Success example. outside" {
		t.Errorf("other name: %s", got)
	}
	if n := len(ups[0].asked()); n != 1 {
		t.Errorf("upstream got %d queries, want 1: mesh names stay here", n)
	}
}

func TestManyAddressesAreTruncated(t *testing.T) {
	port, ups := upstreams(t, says("outside"))
	g := newRig(t, port, hosts(ups))
	name := proxy.Name{Name: "many.mesh"}
	for i := range 200 {
		name.Addresses = append(name.Addresses, netip.AddrFrom4([4]byte{240, 0, 1, byte(i)}))
	}
	g.SetNames([]proxy.Name{name})
	for _, tt := range []struct {
		network string
		edns    int
		tc      bool
		most    int
	}{{"udp4", 0, true, 512}, {"udp4", 4096, true, maxUDP}, {"tcp4", 0, false, 0xffff}} {
		b := g.ask(tt.network, pack(1, "many.mesh.", dnsmessage.TypeA, tt.edns))
		var m dnsmessage.Message
		if err := m.Unpack(b); err != nil {
			t.Fatal(err)
		}
		if m.Truncated != tt.tc || len(b) > tt.most || (!tt.tc && len(m.Answers) != 200) {
			t.Errorf("%s edns %d: tc %v, %d bytes, %d answers", tt.network, tt.edns, m.Truncated, len(b), len(m.Answers))
		}
	}
}

func TestForwardsUnchanged(t *testing.T) {
	got := make(chan []byte, 1)
	port, ups := upstreams(t, func(_ string, query []byte) [][]byte {
		got <- query
		return [][]byte{txt(query, "yes", dnsmessage.RCodeSuccess)}
	})
	g := newRig(t, port, hosts(ups))
	for _, network := range networks {
		msg := append(pack(77, "WwW.eXample.", dnsmessage.TypeTXT, 1400), 0xde, 0xad) // what we do not understand goes on too
		answer := g.ask(network, msg)
		if query := <-got; !bytes.Equal(query[2:], msg[2:]) {
			t.Errorf("%s: upstream got %x, want %x", network, query, msg)
		}
		if s := show(answer); s != "Success WwW.eXample. yes" || binary.BigEndian.Uint16(answer) != 77 {
			t.Errorf("%s: %s", network, s)
		}
	}
	want := "udp www.example udp www.example tcp www.example tcp www.example"
	if got := strings.Join(ups[0].asked(), " "); got != want {
		t.Errorf("upstream was asked %s, want %s: by the transport the query came by", got, want)
	}
}

func TestQueryIDsDiffer(t *testing.T) {
	var mu sync.Mutex
	ids := map[uint16]bool{}
	port, ups := upstreams(t, func(_ string, query []byte) [][]byte {
		mu.Lock()
		ids[binary.BigEndian.Uint16(query)] = true
		mu.Unlock()
		return [][]byte{txt(query, "yes", dnsmessage.RCodeSuccess)}
	})
	g := newRig(t, port, hosts(ups))
	for range 50 {
		g.ask("udp4", pack(7, "example.", dnsmessage.TypeTXT, 0))
	}
	mu.Lock()
	defer mu.Unlock()
	if len(ids) < 45 {
		t.Errorf("50 queries went out under %d ids", len(ids))
	}
}

func TestFailover(t *testing.T) {
	for _, tt := range []struct {
		name   string
		first  behave
		within time.Duration
	}{
		{"nobody there", nil, nextAfter},
		{"silent", silent, 2 * nextAfter},
		{"refuses", fails(dnsmessage.RCodeRefused), nextAfter},
		{"fails", fails(dnsmessage.RCodeServerFailure), nextAfter},
	} {
		for _, network := range []string{"udp4", "tcp4"} {
			t.Run(tt.name+"/"+network, func(t *testing.T) {
				port, ups := upstreams(t, says("second"), tt.first)
				if tt.first == nil {
					ups[1].addr = netip.AddrPortFrom(netip.MustParseAddr("127.0.1.2"), port)
				}
				g := newRig(t, port, []string{ups[1].addr.Addr().String(), ups[0].addr.Addr().String()})
				start := time.Now()
				if got := show(g.ask(network, pack(1, "example.", dnsmessage.TypeTXT, 0))); got != "Success example. second" {
					t.Fatalf("got %s", got)
				}
				within := tt.within
				if runtime.GOOS == "windows" && network == "udp4" {
					within = max(within, 2*nextAfter) // nobody is told there that nobody listens
				}
				if took := time.Since(start); took > within {
					t.Errorf("took %v, want at most %v", took, within)
				}
			})
		}
	}
}

func TestDeadServerIsRemembered(t *testing.T) {
	port, ups := upstreams(t, silent, says("second"))
	g := newRig(t, port, hosts(ups))
	g.ask("udp4", pack(1, "example.", dnsmessage.TypeTXT, 0))
	start := time.Now()
	for range 20 {
		g.ask("udp4", pack(1, "example.", dnsmessage.TypeTXT, 0))
	}
	if took := time.Since(start); took > nextAfter {
		t.Errorf("20 queries took %v: the dead server is asked again each time", took)
	}
	if n := len(ups[0].asked()); n != 1 {
		t.Errorf("dead server was asked %d times, want 1", n)
	}
}

// A server that is slow is not given up when the next one is asked.
func TestSlowServerMayStillAnswer(t *testing.T) {
	release := make(chan struct{})
	port, ups := upstreams(t,
		func(_ string, q []byte) [][]byte {
			<-release
			return [][]byte{txt(q, "slow", dnsmessage.RCodeSuccess)}
		},
		func(_ string, q []byte) [][]byte { close(release); return nil })
	g := newRig(t, port, hosts(ups))
	if got := show(g.ask("udp4", pack(1, "example.", dnsmessage.TypeTXT, 0))); got != "Success example. slow" {
		t.Errorf("got %s", got)
	}
}

func TestForgedAnswersAreIgnored(t *testing.T) {
	port, ups := upstreams(t, func(network string, query []byte) [][]byte {
		if network == "tcp" {
			return [][]byte{txt(query, "true", dnsmessage.RCodeSuccess)}
		}
		wrongID := txt(query, "forged", dnsmessage.RCodeSuccess)
		wrongID[0] ^= 0xff
		other := txt(pack(binary.BigEndian.Uint16(query), "other.", dnsmessage.TypeTXT, 0), "forged", dnsmessage.RCodeSuccess)
		otherType := txt(query, "forged", dnsmessage.RCodeSuccess)
		otherType[headerLen+len("example")+2+1] ^= 1
		return [][]byte{{}, query[:headerLen], query, wrongID, other, otherType, txt(query, "true", dnsmessage.RCodeSuccess)}
	})
	g := newRig(t, port, hosts(ups))
	if got := show(g.ask("udp4", pack(1, "example.", dnsmessage.TypeTXT, 0))); got != "Success example. true" {
		t.Errorf("got %s", got)
	}
}

func TestTruncatedThenLargeByTCP(t *testing.T) {
	long := strings.Repeat("0123456789", 4000)
	port, ups := upstreams(t, func(network string, query []byte) [][]byte {
		if network == "udp" {
			b := txt(query, "", dnsmessage.RCodeSuccess)
			b[2] |= bitTruncated
			return [][]byte{b}
		}
		return [][]byte{txt(query, long, dnsmessage.RCodeSuccess)}
	})
	g := newRig(t, port, hosts(ups))
	if got := show(g.ask("udp4", pack(1, "big.", dnsmessage.TypeTXT, 0))); got != "Success tc big." {
		t.Errorf("udp: %s", got)
	}
	if got := show(g.ask("tcp4", pack(1, "big.", dnsmessage.TypeTXT, 0))); strings.ReplaceAll(got, " ", "") != "Successbig."+long {
		t.Errorf("tcp: %d bytes", len(got))
	}
}

func TestAllServersFail(t *testing.T) {
	port, ups := upstreams(t, fails(dnsmessage.RCodeRefused), fails(dnsmessage.RCodeRefused))
	g := newRig(t, port, hosts(ups))
	if got := show(g.ask("udp4", pack(1, "example.", dnsmessage.TypeTXT, 0))); got != "Refused example." {
		t.Errorf("got %s, want the servers' own word", got)
	}
	g = newRig(t, port, nil)
	if got := show(g.ask("udp4", pack(1, "example.", dnsmessage.TypeTXT, 0))); got != "ServerFailure example." {
		t.Errorf("without a server: %s", got)
	}
}

func TestResolvConfIsReadAgain(t *testing.T) {
	port, ups := upstreams(t, says("first"), says("second"))
	g := newRig(t, port, hosts(ups)[:1])
	g.ask("udp4", pack(1, "example.", dnsmessage.TypeTXT, 0))
	g.write(hosts(ups)[1], "127.0.1.77")
	deadline := time.After(patience)
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		if show(g.ask("udp4", pack(1, "example.", dnsmessage.TypeTXT, 0))) == "Success example. second" {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("still asks the first server")
		}
	}
}

func TestOwnAddressIsNotAsked(t *testing.T) {
	port, ups := upstreams(t, says("outside"))
	g := newRig(t, port, []string{"127.0.0.1", ups[0].addr.Addr().String()}, func(c *Config) {
		c.Listen = []string{fmt.Sprintf("127.0.0.1:%d", port)}
	})
	servers, err := g.fwd.servers(time.Now())
	if err != nil || len(servers) != 1 || servers[0] != ups[0].addr {
		t.Errorf("asks %v (%v), want only %v", servers, err, ups[0].addr)
	}
}

func TestConcurrencyIsBounded(t *testing.T) {
	port, ups := upstreams(t, silent)
	g := newRig(t, port, hosts(ups))
	g.SetNames(testNames)
	conn, err := net.Dial("udp", g.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i := range maxForwards {
		if _, err := conn.Write(pack(uint16(i), "slow.", dnsmessage.TypeTXT, 0)); err != nil {
			t.Fatal(err)
		}
		select { // the server has taken it
		case <-ups[0].seen:
		case <-time.After(patience):
			t.Fatalf("query %d is not forwarded", i)
		}
	}
	if got := show(g.ask("udp4", pack(1, "one-more.", dnsmessage.TypeTXT, 0))); got != "ServerFailure one-more." {
		t.Errorf("beyond the bound: %s", got)
	}
	if got := show(g.ask("udp4", pack(1, "api.mesh.", dnsmessage.TypeA, 0))); got != "Success aa api.mesh. 30 A 240.0.0.1" {
		t.Errorf("mesh name meanwhile: %s", got)
	}
}

func TestTCPClientsShareAConnection(t *testing.T) {
	release := make(chan struct{})
	port, ups := upstreams(t, func(_ string, q []byte) [][]byte {
		<-release
		return [][]byte{txt(q, "slow", dnsmessage.RCodeSuccess)}
	})
	g := newRig(t, port, hosts(ups))
	g.SetNames(testNames)
	conn, err := net.Dial("tcp", g.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	for i, name := range []string{"slow.", "api.mesh."} {
		if err := writeTCP(conn, pack(uint16(i), name, dnsmessage.TypeA, 0)); err != nil {
			t.Fatal(err)
		}
	}
	first, err := readTCP(conn)
	if err != nil || binary.BigEndian.Uint16(first) != 1 {
		t.Fatalf("first answer %x %v, want that of the quick query", first, err)
	}
	close(release)
	if second, err := readTCP(conn); err != nil || binary.BigEndian.Uint16(second) != 0 {
		t.Fatalf("second answer %x %v", second, err)
	}
}

func TestNamesSwapUnderLoad(t *testing.T) {
	port, ups := upstreams(t, says("outside"))
	g := newRig(t, port, hosts(ups))
	old := []proxy.Name{{Name: "api.mesh", Addresses: addrs("240.0.0.1", "240.0.0.2")}}
	young := []proxy.Name{{Name: "api.mesh", Addresses: addrs("240.0.0.3", "240.0.0.4")}}
	g.SetNames(old)
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	defer done.Wait()
	defer cancel()
	done.Go(func() {
		for ctx.Err() == nil {
			g.SetNames(young)
			g.SetNames(old)
		}
	})
	for range 500 {
		switch got := show(g.ask("udp4", pack(1, "api.mesh.", dnsmessage.TypeA, 0))); got {
		case "Success aa api.mesh. 30 A 240.0.0.1 30 A 240.0.0.2", "Success aa api.mesh. 30 A 240.0.0.3 30 A 240.0.0.4":
		default:
			t.Fatalf("got %s: half of each", got)
		}
	}
}

func TestListenAddresses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tt := range []struct {
		name   string
		listen []string
		want   []string
		is     error
	}{
		{"one is missing", []string{"[2001:db8::1]:0", "127.0.0.1:0"}, nil, nil},
		{"both are missing", []string{"[2001:db8::1]:5353", "192.0.2.1:5353"}, []string{"192.0.2.1:5353", "[2001:db8::1]:5353", "ip link set lo up"}, ErrNoAddress},
		{"taken", []string{taken.Addr().String()}, []string{taken.Addr().String(), "set another port"}, errInUse},
		{"nonsense", []string{"localhost"}, []string{`"localhost"`, "must be"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := New(Config{Listen: tt.listen})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- s.Run(ctx) }()
			if tt.want == nil {
				select {
				case <-s.Ready():
				case <-time.After(patience):
					t.Fatal("does not come up")
				}
				if len(s.Addrs()) != 1 {
					t.Errorf("serves %v, want one", s.Addrs())
				}
				cancel()
				if err := <-done; err != nil {
					t.Errorf("Run: %v", err)
				}
				return
			}
			select {
			case err = <-done:
			case <-time.After(patience):
				t.Fatal("runs")
			}
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("Run: %v, lacks %q", err, want)
				}
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("Run: %v, want %v", err, tt.is)
			}
		})
	}
}

func BenchmarkMeshName(b *testing.B) {
	s := New(Config{Listen: []string{"127.0.0.1:0"}})
	s.SetNames(testNames)
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-s.Ready()
	msg := pack(1, "api.mesh.", dnsmessage.TypeA, 1232)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		conn, err := net.Dial("udp", s.Addrs()[0].String())
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Close()
		buf := make([]byte, 512)
		for pb.Next() {
			if _, err := conn.Write(msg); err != nil {
				b.Error(err)
				return
			}
			if _, err := conn.Read(buf); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "queries/s")
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

func BenchmarkAnswer(b *testing.B) {
	t := newTable("mesh", testNames)
	msg := pack(1, "api.mesh.", dnsmessage.TypeA, 1232)
	b.ReportAllocs()
	for b.Loop() {
		q, _, _ := parse(msg, false)
		if answer(t, "mesh", &q) == nil {
			b.Fatal("no answer")
		}
	}
}

// What was read is answered before the server ends, where that takes no longer
// than a moment.
func TestLastAnswers(t *testing.T) {
	release := make(chan struct{})
	port, ups := upstreams(t, func(_ string, query []byte) [][]byte {
		<-release
		return [][]byte{txt(query, "late", dnsmessage.RCodeSuccess)}
	})
	for _, network := range []string{"udp4", "tcp4"} {
		g := newRig(t, port, hosts(ups))
		answer := make(chan string, 1)
		go func() { answer <- show(g.ask(network, pack(1, "example.", dnsmessage.TypeTXT, 0))) }()
		<-ups[0].seen
		ended := make(chan struct{})
		go func() { defer close(ended); g.stop() }()
		release <- struct{}{}
		if got := <-answer; got != "Success example. late" {
			t.Errorf("%s: %s", network, got)
		}
		<-ended
	}
}
