package cp

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// How many connections a door of REST has open at most, and how many requests
// under way: all together, and from one address. A connection that says nothing
// costs some 20 kB, and so does a request whose answer nobody takes, of which
// HTTP/2 has many on one connection.
const (
	maxConnections = 4096
	maxOfSource    = 512
)

// tellAgain is how long a source that was told of is not told of again.
const tellAgain = time.Minute

// A crowd is a listener that closes connections beyond what one source, and
// all of them, may have open, and breaks off such requests: so who opens many
// shuts out himself.
type crowd struct {
	net.Listener
	log           *slog.Logger
	most, oneMost int

	mu      sync.Mutex
	all     [2]int // open, by what
	sources map[netip.Prefix]*source
}

// What is counted.
const (
	connections = iota
	requests
)

var counted = [...]string{connections: "connections", requests: "requests"}

// A source is an address, and of IPv6 the network that one host may have.
type source struct {
	open    [2]int // by what
	refused int    // since told
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
		at, ok := conn.RemoteAddr().(*net.TCPAddr)
		if !ok { // a unix socket
			return conn, nil
		}
		from := sourceOf(at.AddrPort().Addr())
		if c.enter(from, connections, time.Now()) {
			return &guest{Conn: conn, leave: sync.OnceFunc(func() { c.leave(from, connections) })}, nil
		}
		_ = conn.Close()
	}
}

// guard breaks requests off that are too many.
func (c *crowd) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
			from := sourceOf(at.Addr())
			if !c.enter(from, requests, time.Now()) {
				panic(http.ErrAbortHandler) // an answer would wait as the others do
			}
			defer c.leave(from, requests)
		}
		next.ServeHTTP(w, r)
		if r.ProtoMajor > 1 {
			_ = http.NewResponseController(w).Flush() // it is under way until it is taken
		}
	})
}

func sourceOf(addr netip.Addr) netip.Prefix {
	addr, bits := addr.Unmap().WithZone(""), 32
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits) // fails for no address alone
	return p
}

func (c *crowd) enter(from netip.Prefix, what int, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sources[from]
	if s == nil {
		if c.all[what] >= c.most {
			return false // who is new is not remembered: there may be many
		}
		s = &source{}
		c.sources[from] = s
	}
	if s.open[what] < c.oneMost && c.all[what] < c.most {
		s.open[what]++
		c.all[what]++
		return true
	}
	s.refused++
	if now.Sub(s.told) >= tellAgain {
		c.log.Warn(counted[what]+" were refused: their source has too many open", "source", from.String(), "open", s.open[what], "refused", s.refused, "all", c.all[what])
		s.told, s.refused = now, 0
	}
	return false
}

func (c *crowd) leave(from netip.Prefix, what int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all[what]--
	if s := c.sources[from]; s != nil {
		if s.open[what]--; s.open == [2]int{} {
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
