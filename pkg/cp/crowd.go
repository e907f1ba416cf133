package cp

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// How many connections a door of REST has open at most: all together, and from
// one address. A connection that says nothing costs some 20 kB.
const (
	maxConnections = 4096
	maxOfSource    = 512
)

// tellAgain is how long a source that was told of is not told of again.
const tellAgain = time.Minute

// A crowd is a listener that closes connections beyond what one source, and
// all of them, may have open: so who opens many shuts out himself.
type crowd struct {
	net.Listener
	log           *slog.Logger
	most, oneMost int

	mu      sync.Mutex
	all     int
	sources map[netip.Prefix]*source
}

// A source is an address, and of IPv6 the network that one host may have.
type source struct {
	open    int
	refused int // since told
	told    time.Time
}

func newCrowd(l net.Listener, log *slog.Logger) *crowd {
	return &crowd{Listener: l, log: log, most: maxConnections, oneMost: maxOfSource, sources: map[netip.Prefix]*source{}}
}

// Accept returns the next connection that may stay.
func (c *crowd) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from, ok := sourceOf(conn)
		if !ok { // a unix socket
			return conn, nil
		}
		if c.enter(from, time.Now()) {
			return &guest{Conn: conn, leave: sync.OnceFunc(func() { c.leave(from) })}, nil
		}
		_ = conn.Close()
	}
}

func sourceOf(conn net.Conn) (netip.Prefix, bool) {
	at, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}, false
	}
	addr := at.AddrPort().Addr().Unmap()
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	p, err := addr.WithZone("").Prefix(bits)
	return p, err == nil
}

func (c *crowd) enter(from netip.Prefix, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sources[from]
	if s == nil {
		if c.all >= c.most {
			return false // who is new is not remembered: there may be many
		}
		s = &source{}
		c.sources[from] = s
	}
	if s.open < c.oneMost && c.all < c.most {
		s.open++
		c.all++
		return true
	}
	s.refused++
	if now.Sub(s.told) >= tellAgain {
		c.log.Warn("connections were refused: their source has too many open", "source", from.String(), "open", s.open, "refused", s.refused, "all", c.all)
		s.told, s.refused = now, 0
	}
	return false
}

func (c *crowd) leave(from netip.Prefix) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if s := c.sources[from]; s != nil {
		if s.open--; s.open == 0 {
			delete(c.sources, from)
		}
	}
}

// A guest is a connection that is counted.
type guest struct {
	net.Conn
	leave func()
}

func (g *guest) Close() error {
	g.leave()
	return g.Conn.Close()
}
