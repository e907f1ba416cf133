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
		p.externalLimit(out)
		out.AccessLogs = p.logs(out.Service, out.Protocol)
		p.memberHosts(out)
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
	defer o.named(t)
	if len(t.ReachableServices) == 0 {
		for s := range o.allServices().All() {
			if o.permitted(s.Name) {
				o.called(s, t)
			}
		}
		return
	}
	for i, name := range t.ReachableServices {
		s := o.service(name)
		if s.Name == "" {
			o.warn(fmt.Sprintf("networking.transparentProxying.reachableServices[%d]", i), "no dataplane offers service %s", name)
			continue
		}
		if at := vips(s.Slot, proxy.VIPPort, t); !o.taken[at[0]] {
			o.called(s, t)
		}
	}
}

// called adds a service at its virtual addresses. One that is outside is
// called at the ports that it has there, too.
func (o *outbounds) called(s snapshot.Service, t *mesh.TransparentProxying) {
	at := vips(s.Slot, proxy.VIPPort, t)
	for _, r := range s.External.All() {
		part := originOf(r).String()
		if s.Offered {
			o.warn(part, "has no effect: dataplanes offer service %s; give one of the two another name", s.Name)
			continue
		}
		for _, l := range vips(s.Slot, uint16(r.Spec.(*mesh.ExternalService).Port()), t) {
			if !slices.Contains(at, l) {
				at = append(at, l)
			}
		}
	}
	o.add(mesh.Tags{mesh.ServiceTag: s.Name}, s.Protocol, at...)
}

// vips are the addresses of a slot that the host can call.
func vips(slot uint32, port uint16, t *mesh.TransparentProxying) []netip.AddrPort {
	v4, v6 := vip(slot)
	a, b := netip.AddrPortFrom(v4, port), netip.AddrPortFrom(v6, port)
	switch family(t) {
	case proxy.IPv4:
		return []netip.AddrPort{a}
	case proxy.IPv6:
		return []netip.AddrPort{b}
	default:
		return []netip.AddrPort{a, b}
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
