//go:build linux

package ebpf

import (
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/cgroup"
)

// look finds out what the rules' words mean here: on this thread's network
// namespace, and in this cgroup tree.
func look(r redirect.Rules, tree tree) (f facts, err error) {
	if f.netns, f.inode, err = namespace(); err != nil {
		return f, err
	}
	if f.cgroups, err = cgroup.IDs(tree.root, cgroupsOf(r)); err != nil {
		return f, err
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return f, fmt.Errorf("open netlink: %w", err)
	}
	defer h.Close()
	if len(r.Inbound.ExcludeInterfaces) > 0 {
		links, err := h.LinkList()
		if err != nil {
			return f, fmt.Errorf("list interfaces: %w", err)
		}
		f.interfaces = make(map[string]uint32)
		for _, l := range links {
			f.interfaces[l.Attrs().Name] = uint32(l.Attrs().Index)
		}
	}
	f.locals, err = localAddresses(h)
	return f, err
}

// localAddresses are what the kernel takes for this host, as its table of local
// routes says, and the addresses that it is about to put there.
func localAddresses(h *netlink.Handle) (out []netip.Prefix, err error) {
	add := func(n *net.IPNet) {
		if p, ok := prefixOf(n); ok && !p.Addr().IsLoopback() {
			out = append(out, p)
		}
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := h.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL}, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_TYPE)
		if err != nil {
			return nil, fmt.Errorf("list this host's addresses: %w", err)
		}
		for _, r := range routes {
			add(r.Dst)
		}
	}
	addresses, err := h.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list this host's addresses: %w", err)
	}
	for _, a := range addresses {
		add(netlink.NewIPNet(a.IP))
	}
	return out, nil
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	bits, size := n.Mask.Size()
	if !ok || size != addr.BitLen() {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(addr, bits), true
}

// namespace is the calling thread's network namespace: its cookie and its inode
// number.
func namespace() (cookie uint64, inode uint32, err error) {
	if cookie, err = netnsCookie(); err != nil {
		return 0, 0, err
	}
	var st unix.Stat_t
	if err := unix.Stat(ownNetns, &st); err != nil {
		return 0, 0, fmt.Errorf("look at the network namespace: %w", err)
	}
	return cookie, uint32(st.Ino), nil
}

const ownNetns = "/proc/thread-self/ns/net"

// openNetns is the calling thread's network namespace as a file.
func openNetns() (*os.File, error) {
	f, err := os.Open(ownNetns)
	if err != nil {
		return nil, fmt.Errorf("open the network namespace: %w", err)
	}
	return f, nil
}
