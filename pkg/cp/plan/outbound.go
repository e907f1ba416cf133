package plan

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// outbounds plans what the workload can call: with redirection every service
// at its virtual addresses, and whatever the dataplane lists itself.
func (p *planner) outbounds() []proxy.Outbound {
	o := outbounds{planner: p, byName: map[string]*proxy.Outbound{}, taken: map[netip.AddrPort]bool{}}
	if t := p.dp.Networking.TransparentProxying; t != nil && t.RedirectPortOutbound != 0 {
		o.virtual(t)
	}
	for i, out := range p.dp.Networking.Outbound {
		o.listed(fmt.Sprintf("networking.outbound[%d]", i), out)
	}
	var list []proxy.Outbound
	for _, name := range slices.Sorted(maps.Keys(o.byName)) {
		out := o.byName[name]
		slices.SortFunc(out.Listen, netip.AddrPort.Compare)
		p.route(out)
		p.timeouts(out)
		p.retry(out)
		out.AccessLogs = p.logs(out.Service, out.Protocol)
		list = append(list, *out)
	}
	return list
}

type outbounds struct {
	*planner
	byName map[string]*proxy.Outbound
	taken  map[netip.AddrPort]bool
}

// virtual adds the services of the mesh, or those that the workload says it
// calls.
func (o *outbounds) virtual(t *mesh.TransparentProxying) {
	if len(t.ReachableServices) == 0 {
		for s := range o.allServices().All() {
			o.add(mesh.Tags{mesh.ServiceTag: s.Name}, s.Protocol, vips(s, t)...)
		}
		return
	}
	for i, name := range t.ReachableServices {
		s := o.service(name)
		if s.Name == "" {
			o.warn(fmt.Sprintf("networking.transparentProxying.reachableServices[%d]", i), "no dataplane offers service %s", name)
			continue
		}
		if at := vips(s, t); !o.taken[at[0]] {
			o.add(mesh.Tags{mesh.ServiceTag: s.Name}, s.Protocol, at...)
		}
	}
}

// vips are the addresses of a service that the host can call.
func vips(s snapshot.Service, t *mesh.TransparentProxying) []netip.AddrPort {
	v4, v6 := vip(s)
	switch family(t) {
	case proxy.IPv4:
		return []netip.AddrPort{v4}
	case proxy.IPv6:
		return []netip.AddrPort{v6}
	default:
		return []netip.AddrPort{v4, v6}
	}
}

// listed adds one entry of networking.outbound.
func (o *outbounds) listed(part string, out mesh.Outbound) {
	service := out.Tags.Service()
	if service == "" {
		o.warn(part, "backendRef has no effect yet: name the service by the tag %s", mesh.ServiceTag)
		return
	}
	address := cmp.Or(out.Address, "127.0.0.1")
	ip, err := netip.ParseAddr(address)
	if err != nil || out.Port == 0 || out.Port > math.MaxUint16 {
		o.warn(part, "%s, port %d is no place to listen: the outbound is left out", address, out.Port)
		return
	}
	listen := netip.AddrPortFrom(ip.Unmap(), uint16(out.Port))
	if o.taken[listen] {
		o.warn(part, "another outbound listens on %s already: this one is left out; give it another port", listen)
		return
	}
	s := o.service(service)
	if s.Name == "" {
		o.warn(part, "no dataplane offers service %s: calls fail until one does", service)
	}
	o.add(out.Tags, cmp.Or(s.Protocol, proxy.TCP), listen)
}

// add lets the workload call what has these tags at the given addresses.
func (o *outbounds) add(tags mesh.Tags, protocol string, listen ...netip.AddrPort) {
	if !callable(tags.Service()) {
		o.warn(fmt.Sprintf("service %s", tags.Service()), "cannot be called: "+
			"names with %s in them are kept for the proxy's own parts; give the service another one", strings.Join(ownMarks, " or "))
		return
	}
	name := Cluster(tags)
	out := o.byName[name]
	if out != nil && !maps.Equal(out.Tags, tags) {
		o.warn(fmt.Sprintf("outbound %s", words(tags)), "is left out: its cluster %s is that of %s already; rename one of the two services or tags", name, words(out.Tags))
		return
	}
	if out == nil {
		out = &proxy.Outbound{Name: name, Service: tags.Service(), Tags: tags, Protocol: protocol}
		o.byName[name] = out
	}
	for _, l := range listen {
		o.taken[l] = true
		out.Listen = append(out.Listen, l)
	}
}
