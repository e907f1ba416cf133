package plan

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// inbounds plans every inbound, also those that are not ready: they listen,
// only nobody is sent to them.
func (p *planner) inbounds() (ins []proxy.Inbound) {
	taken := map[netip.AddrPort]bool{}
	for i, in := range p.dp.Networking.Inbound {
		part := fmt.Sprintf("networking.inbound[%d]", i)
		listen, ok := p.address(part, p.dp.InboundAddress(i), in.Port)
		if !ok {
			continue
		}
		// A workload that does not say where it is listens at the dataplane's
		// address, not at 127.0.0.1: so it has always been with these documents.
		workload, ok := p.address(part, p.dp.ServiceAddress(i), p.dp.ServicePort(i))
		if !ok {
			continue
		}
		if taken[listen] {
			p.warn(part, "another inbound listens on %s already: this one is left out; give it another port", listen)
			continue
		}
		taken[listen] = true
		if workload == listen && p.transparent() == nil {
			p.warn(part, "the proxy would call itself at %s: set servicePort, or serviceAddress to where the workload listens, such as 127.0.0.1", listen)
		}
		inbound := proxy.Inbound{
			Name:     p.dp.InboundName(i),
			Listen:   listen,
			Workload: workload,
			Service:  in.Tags.Service(),
			Tags:     maps.Clone(in.Tags),
			Protocol: p.dp.Protocol(i),
			Access:   p.access(in.Tags),
			Probe:    probe(in.ServiceProbe),
		}
		inbound.Faults = p.faults(&inbound)
		inbound.RateLimits = p.rateLimits(&inbound)
		ins = append(ins, inbound)
	}
	if a := p.dp.Networking.AdvertisedAddress; a != "" && !p.view.Host(a).IsValid() {
		p.warn("networking.advertisedAddress", "host name %s is not resolved: nobody is sent here until the control plane's DNS knows it", a)
	}
	slices.SortFunc(ins, func(a, b proxy.Inbound) int { return a.Listen.Compare(b.Listen) })
	return ins
}

// address resolves one address of the dataplane; it warns where it cannot.
func (p *planner) address(part, host string, port uint32) (netip.AddrPort, bool) {
	ip := p.view.Host(host)
	switch {
	case !ip.IsValid():
		p.warn(part, "host name %s is not resolved: the inbound is left out until the control plane's DNS knows it", host)
		return netip.AddrPort{}, false
	case port == 0 || port > math.MaxUint16:
		p.warn(part, "%d is not a port: the inbound is left out", port)
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(ip, uint16(port)), true
}
