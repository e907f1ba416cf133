package plan

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/pkg/cp/policy"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// tracing says where spans go, nil where no TrafficTrace selects the dataplane.
func (p *planner) tracing() *proxy.Tracing {
	sets := p.dp.TagSets()
	winner, ok := p.policies(mesh.TrafficTraceKind, func(rs []*mesh.Resource) policy.Matches { return policy.Traces(rs, sets) }, sets...).Winner()
	if !ok {
		return nil
	}
	name := winner.Policy.Spec.(*mesh.TrafficTrace).Backend()
	b := p.spec.Tracing.Backend(name)
	if b == nil {
		p.warnBackend(winner.Policy, "tracing", name, "nothing is traced")
		return nil
	}
	t := &proxy.Tracing{From: origin(winner), Backend: b.Name, Sampling: b.Percent()}
	if b.Type == mesh.TraceDatadog {
		t.Datadog = &proxy.Datadog{Service: p.ownTags().Service(), Split: b.Conf.SplitService}
		t.Collector, t.Cluster, ok = p.collector(b, b.Conf.Address, uint16(b.Conf.Port), false)
	} else {
		u, err := url.Parse(b.Conf.URL)
		if err != nil {
			u = new(url.URL) // what is not valid is not stored
		}
		port, _ := strconv.ParseUint(u.Port(), 10, 16)
		t.Zipkin = p.zipkin(b, u)
		t.Collector, t.Cluster, ok = p.collector(b, u.Hostname(), uint16(port), u.Scheme == "https")
	}
	if !ok {
		return nil
	}
	return t
}

// collector plans the cluster to which spans go, and what it is called as. It
// is a service's own where the host is a service of the mesh.
func (p *planner) collector(b *mesh.TracingBackend, host string, port uint16, tls bool) (hostPort, name string, ok bool) {
	hostPort = net.JoinHostPort(host, strconv.Itoa(int(port)))
	if service, in := strings.CutSuffix(host, "."+proxy.Domain); in {
		s := p.service(service)
		if s.Name == "" {
			p.warn(fmt.Sprintf("Mesh %q tracing backend %q", p.view.Name(), b.Name), "no dataplane offers service %s: nothing is traced until one does", service)
			return "", "", false
		}
		name, ok = p.cluster(mesh.Tags{mesh.ServiceTag: service}, s.Protocol)
		return hostPort, name, ok
	}
	m := proxy.ExternalMember{From: proxy.Origin{Kind: mesh.MeshKind.Name, Name: p.view.Name()}, Host: host, Port: port}
	if tls {
		m.TLS = &proxy.ServerTLS{SNI: host, Name: host, Roots: proxy.SystemRoots}
		if _, err := netip.ParseAddr(host); err == nil {
			m.TLS.SNI = "" // SNI knows names alone
		}
	}
	e := &proxy.External{Members: []proxy.ExternalMember{m}, IPv6First: p.view.Host(p.dp.Networking.Address).Is6()}
	if t := p.dp.Networking.TransparentProxying; t != nil {
		e.Family = family(t)
		e.IPv6First = e.IPv6First && e.Family == ""
	}
	name = "tracing:" + b.Name
	p.clusters[name] = &cluster{Cluster: proxy.Cluster{Name: name, ConnectTimeout: connectTimeout, External: e}}
	return hostPort, name, true
}

func (p *planner) zipkin(b *mesh.TracingBackend, u *url.URL) *proxy.Zipkin {
	if b.Conf.APIVersion == mesh.ZipkinJSONV1 {
		p.warn(fmt.Sprintf("Mesh %q tracing backend %q", p.view.Name(), b.Name),
			"apiVersion %s is not spoken by Envoy any more: %s is used; name a URL that takes it, such as /api/v2/spans", mesh.ZipkinJSONV1, mesh.ZipkinJSON)
	}
	return &proxy.Zipkin{
		Path:       u.RequestURI(),
		TraceID128: b.Conf.TraceID128Bit,
		Protobuf:   b.Conf.APIVersion == mesh.ZipkinProto,
		Shared:     b.Conf.SharedSpanContext == nil || *b.Conf.SharedSpanContext,
	}
}
