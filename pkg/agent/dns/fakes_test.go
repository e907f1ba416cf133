package dns

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/weft-mesh/weft/pkg/proxy"
)

const patience = time.Minute

var testNames = []proxy.Name{
	{Name: "api.mesh", Addresses: addrs("240.0.0.1", "fd57:6566:7400::1")},
	{Name: "v4.mesh", Addresses: addrs("240.0.0.2"), Ports: []uint16{8080, 8443}},
	{Name: "a.b.deep.mesh", Addresses: addrs("240.0.0.3")},
}

func addrs(list ...string) (out []netip.Addr) {
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// An upstream is a resolver of the host's, by both transports.
type upstream struct {
	addr netip.AddrPort
	mu   sync.Mutex
	got  []string // "udp www.example.", in order
	seen chan struct{}
}

// behave is what an upstream does with a query: it returns the messages to
// send back.
type behave func(network string, query []byte) [][]byte

// upstreams share a port, each with an address of its own in 127.0.0.0/8; a
// nil one is an address where nobody listens.
func upstreams(t *testing.T, behaviours ...behave) (port uint16, ups []*upstream) {
	t.Helper()
	for i, b := range behaviours {
		ip := netip.AddrFrom4([4]byte{127, 0, 1, byte(i + 1)})
		u := &upstream{addr: netip.AddrPortFrom(ip, port), seen: make(chan struct{}, 1000)}
		ups = append(ups, u)
		if b == nil {
			continue
		}
		l, err := listenBoth(t.Context(), u.addr)
		if err != nil {
			t.Fatal(err)
		}
		port, u.addr = l.addr.Port(), l.addr
		t.Cleanup(l.close)
		go u.udp(l.udp, b)
		go u.tcp(l.tcp, b)
	}
	return port, ups
}

func (u *upstream) note(network string, query []byte) {
	q, _, _ := parse(query, true)
	u.mu.Lock()
	u.got = append(u.got, network+" "+q.name)
	u.mu.Unlock()
	u.seen <- struct{}{}
}

func (u *upstream) asked() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.got)
}

func (u *upstream) udp(conn *net.UDPConn, b behave) {
	buf := make([]byte, 0xffff)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		query := append([]byte(nil), buf[:n]...)
		u.note("udp", query)
		go func() {
			for _, m := range b("udp", query) {
				_, _ = conn.WriteToUDPAddrPort(m, from)
			}
		}()
	}
}

func (u *upstream) tcp(l *net.TCPListener, b behave) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			for {
				query, err := readTCP(conn)
				if err != nil {
					return
				}
				u.note("tcp", query)
				for _, m := range b("tcp", query) {
					_ = writeTCP(conn, m)
				}
			}
		}()
	}
}

func writeTCP(w io.Writer, m []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...))
	return err
}

// says answers every query with a TXT record of these words.
func says(words string) behave {
	return func(_ string, query []byte) [][]byte { return [][]byte{txt(query, words, dnsmessage.RCodeSuccess)} }
}

func silent(string, []byte) [][]byte { return nil }

func fails(code dnsmessage.RCode) behave {
	return func(_ string, query []byte) [][]byte { return [][]byte{txt(query, "", code)} }
}

// txt answers query. Empty words make no record.
func txt(query []byte, words string, code dnsmessage.RCode) []byte {
	q, _, ok := parse(query, true)
	if !ok {
		return nil
	}
	r := begin(&q, code)
	for len(words) > 0 {
		n := min(len(words), 255)
		r.add(dnsmessage.TypeTXT, append([]byte{byte(n)}, words[:n]...))
		words = words[n:]
	}
	return r.bytes()
}

// A rig is a running server.
type rig struct {
	*Server
	t    *testing.T
	conf string
	stop func()
}

func newRig(t *testing.T, port uint16, servers []string, change ...func(*Config)) *rig {
	t.Helper()
	g := &rig{t: t, conf: filepath.Join(t.TempDir(), "resolv.conf")}
	g.write(servers...)
	cfg := Config{Listen: []string{"127.0.0.1:0", "[::1]:0"}, ResolvConf: g.conf,
		Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for _, f := range change {
		f(&cfg)
	}
	g.Server = New(cfg)
	g.fwd.conf.port = port
	g.fwd.cache.max = 0 // tests of forwarding ask the same again; see caching
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	g.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(g.stop)
	select {
	case <-g.Ready():
	case <-time.After(patience):
		t.Fatal("server does not come up")
	}
	return g
}

// caching has a rig keep answers.
func (g *rig) caching() *rig {
	g.fwd.cache.mu.Lock()
	defer g.fwd.cache.mu.Unlock()
	g.fwd.cache.max = cacheEntries
	return g
}

func (g *rig) write(servers ...string) {
	g.t.Helper()
	text := "# made by nobody\nsearch example\noptions edns0\n"
	for _, s := range servers {
		text += "nameserver " + s + "\n"
	}
	tmp := g.conf + ".new"
	if err := os.WriteFile(tmp, []byte(text), 0o644); err != nil {
		g.t.Fatal(err)
	}
	if err := os.Rename(tmp, g.conf); err != nil {
		g.t.Fatal(err)
	}
}

// names of upstreams for resolv.conf.
func hosts(ups []*upstream) (out []string) {
	for _, u := range ups {
		out = append(out, u.addr.Addr().String())
	}
	return out
}

// pack makes a query; edns is the size told by EDNS, 0 for none.
func pack(id uint16, name string, typ dnsmessage.Type, edns int) []byte {
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: typ, Class: dnsmessage.ClassINET}},
	}
	if edns > 0 {
		var h dnsmessage.ResourceHeader
		_ = h.SetEDNS0(edns, dnsmessage.RCodeSuccess, true)
		m.Additionals = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.OPTResource{}}}
	}
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

// ask sends one message to the first address of that network ("udp4", "tcp6").
func (g *rig) ask(network string, msg []byte) []byte {
	g.t.Helper()
	addr := g.Addrs()[0]
	if strings.HasSuffix(network, "6") {
		addr = g.Addrs()[1]
	}
	return g.askAt(network, addr, msg)
}

func (g *rig) askAt(network string, addr netip.AddrPort, msg []byte) []byte {
	g.t.Helper()
	conn, err := net.Dial(network, addr.String())
	if err != nil {
		g.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if strings.HasPrefix(network, "tcp") {
		if err := writeTCP(conn, msg); err != nil {
			g.t.Fatal(err)
		}
		b, err := readTCP(conn)
		if err != nil {
			g.t.Fatal(err)
		}
		return b
	}
	if _, err := conn.Write(msg); err != nil {
		g.t.Fatal(err)
	}
	buf := make([]byte, 0xffff)
	n, err := conn.Read(buf)
	if err != nil {
		g.t.Fatal(err)
	}
	return buf[:n]
}

// show reads an answer back as one line.
func show(b []byte) string {
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil {
		return "broken: " + err.Error()
	}
	parts := []string{strings.TrimPrefix(m.RCode.String(), "RCode")}
	if m.Authoritative {
		parts = append(parts, "aa")
	}
	if m.Truncated {
		parts = append(parts, "tc")
	}
	for _, q := range m.Questions {
		parts = append(parts, q.Name.String())
	}
	for _, a := range m.Answers {
		switch body := a.Body.(type) {
		case *dnsmessage.AResource:
			parts = append(parts, fmt.Sprintf("%d A %s", a.Header.TTL, netip.AddrFrom4(body.A)))
		case *dnsmessage.AAAAResource:
			parts = append(parts, fmt.Sprintf("%d AAAA %s", a.Header.TTL, netip.AddrFrom16(body.AAAA)))
		case *dnsmessage.SRVResource:
			parts = append(parts, fmt.Sprintf("%d SRV %d %s", a.Header.TTL, body.Port, body.Target))
		case *dnsmessage.PTRResource:
			parts = append(parts, fmt.Sprintf("%d PTR %s", a.Header.TTL, body.PTR))
		case *dnsmessage.TXTResource:
			parts = append(parts, strings.Join(body.TXT, ""))
		}
	}
	return strings.Join(parts, " ")
}
