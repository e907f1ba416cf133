package dns

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// A table is what is known of the mesh's names. It is never changed once made.
type table struct {
	addrs map[string][]netip.Addr // lower case, no dot at the end
	ports map[string][]uint16     // of those that have others than all services
	names map[netip.Addr]string   // the first name, for reverse queries
	// outside are names of hosts outside of the mesh that are called through
	// it: they alone, and nothing beneath them.
	outside map[string][]netip.Addr
}

func newTable(domain string, names []proxy.Name) *table {
	t := &table{addrs: make(map[string][]netip.Addr, len(names)), names: make(map[netip.Addr]string, len(names)), outside: map[string][]netip.Addr{}, ports: map[string][]uint16{}}
	t.addrs[domain] = nil
	for _, n := range names {
		name := strings.TrimSuffix(strings.ToLower(n.Name), ".")
		addrs := t.addrs
		if !under(name, domain) {
			addrs = t.outside
		}
		if len(n.Ports) > 0 {
			t.ports[name] = n.Ports
		}
		for _, a := range n.Addresses {
			a = a.Unmap()
			if !slices.Contains(addrs[name], a) {
				addrs[name] = append(addrs[name], a)
			}
			if _, ok := t.names[a]; !ok {
				t.names[a] = name
			}
		}
		// What lies between a name and the domain exists too, empty: a
		// resolver that asks label by label must not be told otherwise.
		for under(name, domain) && name != domain {
			if _, ok := t.addrs[name]; !ok {
				t.addrs[name] = nil
			}
			_, name, _ = strings.Cut(name, ".")
		}
	}
	return t
}

// under says whether name is domain or lies beneath it.
func under(name, domain string) bool {
	rest, ok := strings.CutSuffix(name, domain)
	return ok && (rest == "" || strings.HasSuffix(rest, "."))
}

// vipOf reads the name of a reverse query. It returns false unless that is
// the whole name of an address in the ranges of the mesh's services.
func vipOf(name string) (netip.Addr, bool) {
	var a netip.Addr
	if rest, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		parts := strings.Split(rest, ".")
		slices.Reverse(parts)
		a, _ = netip.ParseAddr(strings.Join(parts, "."))
		return a, a.Is4() && proxy.VIP4.Contains(a)
	}
	if rest, ok := strings.CutSuffix(name, ".ip6.arpa"); ok && len(rest) == 63 {
		var b strings.Builder
		for i := 62; i >= 0; i -= 2 {
			if i > 0 && rest[i-1] != '.' {
				return a, false
			}
			b.WriteByte(rest[i])
			if i%8 == 0 && i > 0 {
				b.WriteByte(':')
			}
		}
		a, _ = netip.ParseAddr(b.String())
		return a, a.Is6() && proxy.VIP6.Contains(a)
	}
	return a, false
}
