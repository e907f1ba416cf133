//go:build linux

package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// holder holds sockets from one server to the next.
type holder struct {
	mu   sync.Mutex
	held map[string]*os.File
	said []string // "keep dns-udp-…", "drop …"
}

func newHolder(t *testing.T) *holder {
	h := &holder{held: map[string]*os.File{}}
	t.Cleanup(func() {
		for _, f := range h.held {
			_ = f.Close()
		}
	})
	return h
}

func (h *holder) Take(name string) *os.File {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.held[name]
}

func (h *holder) Keep(name string, socket interface{ File() (*os.File, error) }) {
	f, err := socket.File()
	if err != nil {
		panic(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held[name] = f
	h.said = append(h.said, "keep "+name)
}

func (h *holder) Drop(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_ = h.held[name].Close()
	delete(h.held, name)
	h.said = append(h.said, "drop "+name)
}

// bothFamilies are loopback's addresses with a port that is free in both.
func bothFamilies(t *testing.T) []string {
	t.Helper()
	for {
		l, err := listenBoth(t.Context(), netip.MustParseAddrPort("[::1]:0"))
		if err != nil {
			t.Fatal(err)
		}
		at4 := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), l.addr.Port())
		l4, err := listenBoth(t.Context(), at4)
		l.close()
		if err == nil {
			l4.close()
			return []string{at4.String(), l.addr.String()}
		}
	}
}

// What is asked while no server is there waits for the next one, by both
// transports and families, and until that knows the names.
func TestQueriesWaitForTheNextServer(t *testing.T) {
	port, ups := upstreams(t, says("outside"))
	at, h := bothFamilies(t), newHolder(t)
	server := func() *rig {
		return newRig(t, port, hosts(ups), func(c *Config) { c.Listen, c.Sockets = at, h })
	}
	g := server()
	g.SetNames(testNames)
	g.stop()
	if len(h.said) != 4 {
		t.Fatalf("held: %v", h.said)
	}
	type asked struct{ query, got string }
	answers := make(chan asked, 2*len(networks))
	var sent sync.WaitGroup
	for _, network := range networks {
		for name, typ := range map[string]dnsmessage.Type{"api.mesh.": dnsmessage.TypeSRV, "example.": dnsmessage.TypeTXT} {
			addr := at[0]
			if strings.HasSuffix(network, "6") {
				addr = at[1]
			}
			conn, err := net.Dial(network, addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(patience))
			msg, udp := pack(1, name, typ, 0), strings.HasPrefix(network, "udp")
			if udp {
				_, err = conn.Write(msg)
			} else {
				err = writeTCP(conn, msg)
			}
			if err != nil {
				t.Fatal(err)
			}
			sent.Go(func() {
				b, err := readAnswer(conn, udp)
				if err != nil {
					answers <- asked{network + " " + name, err.Error()}
					return
				}
				answers <- asked{network + " " + name, show(b)}
			})
		}
	}
	g = server()
	for range networks { // those that need no table
		if a := <-answers; a.got != "Success example. outside" {
			t.Errorf("%s: %s", a.query, a.got)
		}
	}
	g.SetNames(testNames)
	for range networks {
		if a := <-answers; a.got != "Success aa api.mesh. 30 SRV 80 api.mesh." {
			t.Errorf("%s: %s", a.query, a.got)
		}
	}
	sent.Wait()
	if len(h.said) != 4 {
		t.Errorf("the second server did not take what the first had: %v", h.said)
	}
}

// Servers come and go under load: every query is answered, at the first try.
func TestNoQueryIsLostBetweenServers(t *testing.T) {
	port, ups := upstreams(t, says("outside"))
	at, h := bothFamilies(t), newHolder(t)
	server := func() *rig {
		g := newRig(t, port, hosts(ups), func(c *Config) { c.Listen, c.Sockets = at, h })
		g.SetNames([]proxy.Name{{Name: "api.mesh", Addresses: addrs("240.0.0.2")}})
		return g
	}
	g := server()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var done sync.WaitGroup
	var mu sync.Mutex
	counts := map[string]int{}
	for _, network := range []string{"udp4", "udp6", "tcp4"} {
		addr := at[0]
		if network == "udp6" {
			addr = at[1]
		}
		done.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				name, want := "api.mesh.", "Success aa api.mesh. 30 A 240.0.0.2"
				if i%2 == 1 {
					name, want = "example.", "Success example. outside"
				}
				got, err := lookup(network, addr, name)
				if err == nil && got == want {
					got = "answered"
				}
				mu.Lock()
				counts[fmt.Sprint(network, " ", got, " ", err)]++
				mu.Unlock()
			}
		})
	}
	more := func() {
		t.Helper()
		answered := func() (n int) {
			mu.Lock()
			defer mu.Unlock()
			for _, c := range counts {
				n += c
			}
			return n
		}
		before, deadline := answered(), time.Now().Add(patience)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for answered() < before+30 {
			<-tick.C
			if time.Now().After(deadline) {
				t.Fatalf("no answers: %v", counts)
			}
		}
	}
	for range 20 {
		more()
		g.stop()
		g = server()
	}
	cancel()
	done.Wait()
	for what, n := range counts {
		if !strings.HasSuffix(what, " answered <nil>") {
			t.Errorf("%d times %s", n, what)
		}
	}
	t.Log(counts)
}

// lookup asks once, and waits long.
func lookup(network, addr, name string) (string, error) {
	conn, err := net.Dial(network, addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	typ := dnsmessage.TypeA
	if name == "example." {
		typ = dnsmessage.TypeTXT
	}
	msg, udp := pack(7, name, typ, 0), strings.HasPrefix(network, "udp")
	if udp {
		_, err = conn.Write(msg)
	} else {
		err = writeTCP(conn, msg)
	}
	if err != nil {
		return "", err
	}
	b, err := readAnswer(conn, udp)
	if err != nil {
		return "", err
	}
	return show(b), nil
}

func readAnswer(conn net.Conn, udp bool) ([]byte, error) {
	if !udp {
		return readTCP(conn)
	}
	b := make([]byte, 512)
	n, err := conn.Read(b)
	return b[:n], err
}

// A name proves nothing: what is not the server's own socket is given up, and
// the server listens as ever.
func TestForeignSocketsAreRefused(t *testing.T) {
	at := netip.MustParseAddrPort(bothFamilies(t)[0])
	elsewhere, err := listenBoth(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.close()
	connected, err := net.Dial("udp4", elsewhere.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer connected.Close()
	conversation, err := net.Dial("tcp4", elsewhere.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conversation.Close()
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	type filer interface{ File() (*os.File, error) }
	for name, sockets := range map[string]map[string]filer{
		"of another address":   {"udp": elsewhere.udp, "tcp": elsewhere.tcp},
		"of another transport": {"udp": elsewhere.tcp, "tcp": elsewhere.udp},
		"connected":            {"udp": connected.(filer), "tcp": conversation.(filer)},
		"no sockets":           {"udp": opened{file}, "tcp": opened{file}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHolder(t)
			for network, s := range sockets {
				h.Keep(socketName(network, at), s)
			}
			h.said = nil
			g := newRig(t, 53, nil, func(c *Config) { c.Listen, c.Sockets = []string{at.String()}, h })
			g.SetNames(testNames)
			for _, network := range []string{"udp4", "tcp4"} {
				if got := show(g.ask(network, pack(1, "v4.mesh.", dnsmessage.TypeA, 0))); got != "Success aa v4.mesh. 30 A 240.0.0.2" {
					t.Errorf("%s: %s", network, got)
				}
			}
			want := []string{"drop " + socketName("tcp", at), "drop " + socketName("udp", at), "keep " + socketName("tcp", at), "keep " + socketName("udp", at)}
			if slices.Sort(h.said); !slices.Equal(h.said, want) {
				t.Errorf("the holder was told %v, want %v", h.said, want)
			}
			if names := g.SocketNames(); !slices.Contains(names, socketName("udp", at)) || len(names) != 2 {
				t.Errorf("the server's sockets are %v", names)
			}
			g.stop()
		})
	}
}

type opened struct{ f *os.File }

func (o opened) File() (*os.File, error) { return os.OpenFile(o.f.Name(), os.O_RDONLY, 0) }
