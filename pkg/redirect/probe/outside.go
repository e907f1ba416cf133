//go:build linux

package probe

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Calls from outside come from a network namespace beside the host: a second
// end of a pair of interfaces, which is gone with the namespace, and that with
// its last socket. Both ends have addresses for documentation, which nobody
// else has.

// outsideName is the interface that the host has for that time.
const outsideName = "weft-probe"

// segment is the addresses of both ends.
type segment struct{ host, beside netip.Prefix }

var segments = []segment{
	{netip.MustParsePrefix("203.0.113.252/31"), netip.MustParsePrefix("203.0.113.253/31")},
	{netip.MustParsePrefix("2001:db8:5745:4654::/127"), netip.MustParsePrefix("2001:db8:5745:4654::1/127")},
}

// A beside is that namespace. It lives on a thread of its own.
type beside struct {
	do   chan func()
	done chan struct{}
}

// of reports whether the segment is of an address's family.
func (s segment) of(a netip.Addr) bool { return s.host.Addr().Is4() == a.Is4() }

// besideAddress is the caller's, of the family of what is called.
func besideAddress(to netip.Addr) netip.Addr {
	for _, s := range segments {
		if s.of(to) {
			return s.beside.Addr()
		}
	}
	return netip.Addr{}
}

// goBeside makes the namespace, with a way to the host's addresses.
func goBeside(families []family) (*beside, error) {
	host, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("find the own network namespace: %w", err)
	}
	defer host.Close()
	b := &beside{do: make(chan func()), done: make(chan struct{})}
	ready := make(chan error, 1)
	go func() {
		defer close(b.done)
		runtime.LockOSThread()
		home, err := netns.Get()
		if err != nil {
			runtime.UnlockOSThread()
			ready <- fmt.Errorf("find the own network namespace: %w", err)
			return
		}
		// A thread that does not come back ends with this goroutine, and with it
		// end the processes that it started for others.
		defer func() {
			if back := netns.Set(home); back == nil {
				runtime.UnlockOSThread()
			}
			_ = home.Close()
		}()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			ready <- fmt.Errorf("make a network namespace: %w", err)
			return
		}
		ready <- pair(host, families)
		for f := range b.do {
			f()
		}
	}()
	if err := <-ready; err != nil {
		close(b.do)
		<-b.done
		return nil, fmt.Errorf("go beside the host: %w", err)
	}
	return b, nil
}

// run has f run in the namespace.
func (b *beside) run(f func()) {
	finished := make(chan struct{})
	b.do <- func() {
		defer close(finished)
		f()
	}
	<-finished
}

// close takes the interfaces away at once: with the namespace they would go a
// moment later.
func (b *beside) close() {
	select {
	case <-b.done:
		return
	default:
	}
	b.run(func() {
		if link, err := netlink.LinkByName(outsideName); err == nil {
			_ = netlink.LinkDel(link)
		}
	})
	close(b.do)
	<-b.done
}

// pair connects the namespace of the calling thread with the host's.
func pair(host netns.NsHandle, families []family) error {
	own, err := netns.Get()
	if err != nil {
		return err
	}
	defer own.Close()
	outer, err := netlink.NewHandleAt(host, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer outer.Close()
	inner, err := netlink.NewHandleAt(own, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer inner.Close()
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: outsideName}, PeerName: outsideName, PeerNamespace: netlink.NsFd(host)}
	if err := inner.LinkAdd(veth); err != nil {
		if errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("the host has an interface %s already; another probe may be under way", outsideName)
		}
		return fmt.Errorf("make interface %s: %w", outsideName, err)
	}
	for _, end := range []struct {
		h    *netlink.Handle
		pick func(segment) netip.Prefix
	}{{outer, func(s segment) netip.Prefix { return s.host }}, {inner, func(s segment) netip.Prefix { return s.beside }}} {
		link, err := end.h.LinkByName(outsideName)
		if err != nil {
			return err
		}
		for _, s := range segments {
			p := end.pick(s)
			if !hasFamily(families, p.Addr()) {
				continue
			}
			addr := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}, Scope: unix.RT_SCOPE_LINK}
			if p.Addr().Is6() {
				addr.Flags = unix.IFA_F_NODAD // usable at once
			}
			if err := end.h.AddrAdd(link, addr); err != nil {
				return fmt.Errorf("give %s %s: %w", outsideName, p, err)
			}
		}
		if err := end.h.LinkSetUp(link); err != nil {
			return err
		}
	}
	return ways(inner, families)
}

// ways leads to the host's addresses, which are not on the segment.
func ways(inner *netlink.Handle, families []family) error {
	link, err := inner.LinkByName(outsideName)
	if err != nil {
		return err
	}
	for _, f := range families {
		if !f.own.IsValid() {
			continue
		}
		for _, s := range segments {
			if !s.of(f.own) {
				continue
			}
			r := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: s.host.Addr().AsSlice(), Flags: int(netlink.FLAG_ONLINK),
				Dst: &net.IPNet{IP: f.own.AsSlice(), Mask: net.CIDRMask(f.own.BitLen(), f.own.BitLen())}}
			if err := inner.RouteAdd(r); err != nil {
				return fmt.Errorf("lead to %s: %w", f.own, err)
			}
		}
	}
	return nil
}

func hasFamily(families []family, a netip.Addr) bool {
	for _, f := range families {
		if f.has(a) {
			return true
		}
	}
	return false
}

// there is beside, as a caller.
type there struct {
	here
	beside *beside
}

func (t *there) open(sockets []socket) (fds []int, err error) {
	t.beside.run(func() { fds, err = t.here.open(sockets) })
	return fds, err
}

func (t *there) start(sockets []socket) (errs []error, err error) {
	t.beside.run(func() { errs, err = t.here.start(sockets) })
	return errs, err
}
