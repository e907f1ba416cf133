package explain

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Way is the interface by which this host calls an address, and from which of
// its own.
func Way(to netip.Addr) (out string, from netip.Addr, err error) {
	routes, err := netlink.RouteGet(to.Unmap().AsSlice())
	if err != nil || len(routes) == 0 {
		return "", from, fmt.Errorf("there is no route to %s: %w", to, err)
	}
	from, _ = netip.AddrFromSlice(routes[0].Src)
	i, err := net.InterfaceByIndex(routes[0].LinkIndex)
	if err != nil {
		return "", from, fmt.Errorf("find the way to %s: %w", to, err)
	}
	return i.Name, from.Unmap(), nil
}
