package plan

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// probes says which pages can be had from outside of the mesh, nil where none.
func (p *planner) probes(c *proxy.Config) *proxy.Probes {
	asked := p.dp.Probes
	if asked == nil {
		return nil
	}
	ip := p.view.Host(p.dp.Networking.Address)
	if !ip.IsValid() {
		p.warn("probes", "host name %s is not resolved: nobody can probe the workload until the control plane's DNS knows it", p.dp.Networking.Address)
		return nil
	}
	all := &proxy.Probes{Listen: netip.AddrPortFrom(ip, uint16(asked.Port))}
	other := taken(c, all.Listen)
	if m := c.Metrics; other == "" && m != nil && m.Listen == all.Listen {
		other = "what is scraped"
	}
	if other != "" {
		p.warn("probes", "%s listens on %s already: nobody can probe the workload; give probes another port", other, all.Listen)
		return nil
	}
	for i, e := range asked.Endpoints {
		part := fmt.Sprintf("probes.endpoints[%d]", i)
		in := slices.IndexFunc(c.Inbounds, func(in proxy.Inbound) bool { return uint32(in.Listen.Port()) == e.InboundPort })
		switch {
		case in < 0:
			p.warn(part, "there is no inbound with port %d: it is left out", e.InboundPort)
		case slices.ContainsFunc(all.Paths, func(o proxy.ProbePath) bool { return o.Path == e.Path }):
			p.warn(part, "path %s is another endpoint's already: it is left out", e.Path)
		default:
			all.Paths = append(all.Paths, proxy.ProbePath{Path: e.Path, Inbound: c.Inbounds[in].Name, To: e.InboundPath})
		}
	}
	return all
}
