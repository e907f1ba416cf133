package plan

import (
	"fmt"
	"maps"
	"net/netip"

	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// metrics says where the proxy is scraped, nil where it is not.
func (p *planner) metrics(c *proxy.Config) *proxy.Metrics {
	conf := p.spec.Prometheus(p.dp)
	if conf == nil {
		return nil
	}
	ip := p.view.Host(p.dp.Networking.Address)
	if !ip.IsValid() {
		p.warn("metrics", "host name %s is not resolved: nobody can scrape this proxy until the control plane's DNS knows it", p.dp.Networking.Address)
		return nil
	}
	m := &proxy.Metrics{
		Listen: netip.AddrPortFrom(ip, uint16(conf.Port)),
		Path:   conf.Path,
		Tags:   maps.Clone(conf.Tags),
		Scrape: p.scrape(conf),
	}
	if other := taken(c, m.Listen); other != "" {
		p.warn("metrics", "%s listens on %s already: nobody can scrape this proxy; give metrics another port", other, m.Listen)
		return nil
	}
	switch mode := conf.TLS.Mode; {
	case mode == mesh.MetricsProvided:
		m.TLS = proxy.MetricsProvided
	case mode == mesh.MetricsMTLS && c.Identity != nil:
		m.TLS = proxy.MetricsMesh
		access := p.accessIn(proxy.Strict, conf.Tags)
		m.Access = &access
	default:
		m.TLS = proxy.MetricsPlain
	}
	return m
}

// taken tells in words who listens on an address, "" where nobody does.
func taken(c *proxy.Config, at netip.AddrPort) string {
	for _, in := range c.Inbounds {
		if in.Listen == at {
			return fmt.Sprintf("inbound %s", in.Name)
		}
	}
	for _, out := range c.Outbounds {
		for _, l := range out.Listen {
			if l == at {
				return fmt.Sprintf("outbound %s", out.Name)
			}
		}
	}
	if t := c.Transparent; t != nil && t.InboundPort == at.Port() {
		return "what redirection brings"
	}
	return ""
}

func (p *planner) scrape(conf *mesh.PrometheusConf) proxy.Scrape {
	s := proxy.Scrape{}
	if e := conf.Envoy; e != nil {
		s.Filter = e.FilterRegex
		s.UsedOnly = e.UsedOnly != nil && *e.UsedOnly
	}
	for _, a := range conf.Aggregate {
		if a.Port == 0 {
			p.warn(fmt.Sprintf("metrics aggregate %q", a.Name), "has no port here or in the mesh: it is left out")
			continue
		}
		s.Applications = append(s.Applications, proxy.Application{Name: a.Name, Address: a.Address, Port: uint16(a.Port), Path: a.Path})
	}
	return s
}
