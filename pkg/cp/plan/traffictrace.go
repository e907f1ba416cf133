package plan

import (
	"cmp"
	"fmt"
	"net/url"
	"strconv"

	"github.com/weft-mesh/weft/pkg/cp/policy"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// tracing says where spans go, nil where no TrafficTrace selects the dataplane.
func (p *planner) tracing() *proxy.Tracing {
	own := p.dp.TagSets()
	find := func(all []*mesh.Resource) policy.Matches { return policy.Traces(all, own) }
	winner, ok := p.policies(mesh.TrafficTraceKind, find).Winner()
	if !ok {
		return nil
	}
	name := winner.Policy.Spec.(*mesh.TrafficTrace).Backend()
	b := p.spec.Tracing.Backend(name)
	if b == nil {
		p.warnBackend(winner.Policy, "tracing", name, "nothing is traced")
		return nil
	}
	t := &proxy.Tracing{
		From:    proxy.Origin{Kind: winner.Policy.Kind.Name, Name: winner.Policy.Meta.Name},
		Backend: b.Name, Sampling: b.Percent(),
	}
	if b.Type == mesh.TraceDatadog {
		t.Datadog = &proxy.Datadog{
			Host: b.Conf.Address, Port: uint16(b.Conf.Port),
			Service: p.ownTags().Service(), Split: b.Conf.SplitService,
		}
		return t
	}
	t.Zipkin = p.zipkin(b)
	return t
}

func (p *planner) zipkin(b *mesh.TracingBackend) *proxy.Zipkin {
	u, err := url.Parse(b.Conf.URL)
	if err != nil {
		u = new(url.URL) // what is not valid is not stored
	}
	port, _ := strconv.ParseUint(u.Port(), 10, 16)
	z := &proxy.Zipkin{
		Host: u.Hostname(), Port: uint16(port), TLS: u.Scheme == "https",
		Path:       cmp.Or(u.RequestURI(), "/"),
		TraceID128: b.Conf.TraceID128Bit,
		Protobuf:   b.Conf.APIVersion == mesh.ZipkinProto,
		Shared:     b.Conf.SharedSpanContext == nil || *b.Conf.SharedSpanContext,
	}
	if b.Conf.APIVersion == mesh.ZipkinJSONV1 {
		p.warn(fmt.Sprintf("Mesh %q tracing backend %q", p.view.Name(), b.Name),
			"apiVersion %s is not spoken by Envoy any more: %s is used; name a URL that takes it, such as /api/v2/spans", mesh.ZipkinJSONV1, mesh.ZipkinJSON)
	}
	return z
}
