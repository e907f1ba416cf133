//go:build linux

// Package testnet gives tests hosts of their own: network namespaces on one
// segment, gone with the test.
//
// The namespaces have no names. They live as long as a descriptor of this
// process or a child of it is open, so that even a killed test leaves nothing
// behind, and parallel tests cannot clash. Every Net uses the same addresses.
package testnet

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// The ranges of the segment: documentation addresses, which no real network
// has. Host n (from 0) has the address n+10 in each.
var (
	Segment4 = netip.MustParsePrefix("198.51.100.0/24")
	Segment6 = netip.MustParsePrefix("2001:db8:57::/64")
)

const (
	firstHost = 10
	maxHosts  = 100
)

// A Net is one Ethernet segment: a bridge in a namespace of its own.
type Net struct {
	t      testing.TB
	bridge *space

	mu    sync.Mutex
	hosts int
}

// A Host is a network namespace with lo and one interface, eth0, on the
// segment. It has no default route.
type Host struct {
	Name string
	IP4  netip.Addr
	IP6  netip.Addr

	space  *space
	resolv string // see UseResolver
}

// New makes a segment. It skips the test for anybody but root.
func New(t testing.TB) *Net {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making network namespaces takes root: run the tests as root")
	}
	n := &Net{t: t, bridge: newSpace(t)}
	n.bridge.configure(t, func(h *netlink.Handle) error {
		br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "segment"}}
		if err := h.LinkAdd(br); err != nil {
			return fmt.Errorf("add bridge: %w", err)
		}
		return h.LinkSetUp(br)
	})
	return n
}

// Hosts makes a segment with n hosts, named a, b, c and so on.
func Hosts(t testing.TB, n int) []*Host {
	t.Helper()
	segment := New(t)
	hosts := make([]*Host, n)
	for i := range hosts {
		hosts[i] = segment.Host(string(rune('a' + i)))
	}
	return hosts
}

// Host adds a host to the segment. The name is for messages only.
func (n *Net) Host(name string) *Host {
	n.t.Helper()
	n.mu.Lock()
	i := n.hosts
	n.hosts++
	n.mu.Unlock()
	if i >= maxHosts {
		n.t.Fatalf("a segment has room for %d hosts", maxHosts)
	}
	h := &Host{Name: name, IP4: address(Segment4, firstHost+i), IP6: address(Segment6, firstHost+i), space: newSpace(n.t)}
	done := make(chan struct{})
	defer close(done)
	routes := h.watchRoutes(n.t, done)
	port := fmt.Sprintf("port%d", i)
	n.bridge.configure(n.t, func(nl *netlink.Handle) error {
		segment, err := nl.LinkByName("segment")
		if err != nil {
			return err
		}
		veth := &netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: port, MasterIndex: segment.Attrs().Index},
			PeerName:  "eth0", PeerNamespace: netlink.NsFd(h.space.ns),
		}
		if err := nl.LinkAdd(veth); err != nil {
			return fmt.Errorf("connect host %s: %w", name, err)
		}
		return nl.LinkSetUp(veth)
	})
	h.space.configure(n.t, func(nl *netlink.Handle) error {
		eth, err := nl.LinkByName("eth0")
		if err != nil {
			return err
		}
		if err := nl.LinkSetUp(eth); err != nil {
			return err
		}
		for _, p := range []netip.Prefix{netip.PrefixFrom(h.IP4, Segment4.Bits()), netip.PrefixFrom(h.IP6, Segment6.Bits())} {
			addr := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
			if p.Addr().Is6() {
				addr.Flags = unix.IFA_F_NODAD // usable at once
			}
			if err := nl.AddrAdd(eth, addr); err != nil {
				return fmt.Errorf("give host %s %s: %w", name, p, err)
			}
		}
		return nil
	})
	h.awaitLocal(n.t, routes, h.IP6)
	return h
}

// watchRoutes tells the host's new routes from now on, until done.
func (h *Host) watchRoutes(t testing.TB, done <-chan struct{}) <-chan netlink.RouteUpdate {
	t.Helper()
	updates := make(chan netlink.RouteUpdate, 64)
	if err := netlink.RouteSubscribeWithOptions(updates, done, netlink.RouteSubscribeOptions{Namespace: &h.space.ns}); err != nil {
		t.Fatalf("watch the routes of host %s: %v", h.Name, err)
	}
	return updates
}

// awaitLocal waits until the host knows an IPv6 address as its own: the kernel
// does the last step of adding one on its own time, and sends what is for the
// address onto the segment until then.
func (h *Host) awaitLocal(t testing.TB, updates <-chan netlink.RouteUpdate, a netip.Addr) {
	t.Helper()
	late := time.After(Patience)
	for {
		select {
		case u := <-updates:
			if u.Type == unix.RTM_NEWROUTE && u.Table == unix.RT_TABLE_LOCAL && u.Dst != nil && u.Dst.IP.Equal(a.AsSlice()) {
				return
			}
		case <-late:
			t.Fatalf("host %s did not get its address %s within %s", h.Name, a, Patience)
		}
	}
}

// address is the nth address of a range whose last octet is free.
func address(p netip.Prefix, n int) netip.Addr {
	b := p.Addr().AsSlice()
	b[len(b)-1] = byte(n)
	a, _ := netip.AddrFromSlice(b)
	return a
}

// Do runs f in the host's namespace, on the calling goroutine. Sockets and
// children that f makes stay in it; goroutines that f starts do not run in it.
func (h *Host) Do(f func() error) error { return h.space.do(f) }

// Path names the namespace while the test runs, for nsenter --net=PATH.
func (h *Host) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(h.space.ns)) }

// A space is one namespace, held by its descriptor.
type space struct{ ns netns.NsHandle }

func newSpace(t testing.TB) *space {
	t.Helper()
	s := new(space)
	err := away(func() (err error) {
		if s.ns, err = netns.New(); err != nil { // and enters it
			return err
		}
		return withoutProbing()
	})
	if err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	t.Cleanup(func() { _ = s.ns.Close() })
	s.configure(t, func(h *netlink.Handle) error {
		lo, err := h.LinkByName("lo")
		if err != nil {
			return err
		}
		return h.LinkSetUp(lo)
	})
	return s
}

// withoutProbing makes addresses of IPv6 usable at once: while a router's
// link-local address is probed, a second or two, it looks for no neighbours.
func withoutProbing() error {
	for _, which := range []string{"all", "default"} {
		err := os.WriteFile("/proc/sys/net/ipv6/conf/"+which+"/accept_dad", []byte("0"), 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (s *space) do(f func() error) error {
	return away(func() error {
		if err := netns.Set(s.ns); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return f()
	})
}

func (s *space) configure(t testing.TB, f func(h *netlink.Handle) error) {
	t.Helper()
	h, err := netlink.NewHandleAt(s.ns, unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatalf("open netlink: %v", err)
	}
	defer h.Close()
	if err := f(h); err != nil {
		t.Fatalf("lay out the network: %v", err)
	}
}

// away runs f on a locked thread that may change its namespace, and takes it
// back afterwards. A thread that does not come back is left locked: the runtime
// ends it with its goroutine instead of giving it to another.
func away(f func() error) (err error) {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("find the way back from a network namespace: %w", err)
	}
	defer func() {
		back := netns.Set(home)
		_ = home.Close()
		if back != nil {
			err = errors.Join(err, fmt.Errorf("leave network namespace: %w", back))
			return
		}
		runtime.UnlockOSThread()
	}()
	return f()
}
