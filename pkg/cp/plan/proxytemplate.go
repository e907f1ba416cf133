package plan

import (
	"fmt"
	"maps"

	"github.com/weft-mesh/weft/pkg/cp/policy"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// template is what the winning ProxyTemplate changes, nil where none selects the
// dataplane or the one that does changes nothing.
func (p *planner) template() *proxy.Template {
	own := p.dp.TagSets()
	find := func(all []*mesh.Resource) policy.Matches { return policy.ProxyTemplates(all, own) }
	winner, ok := p.policies(mesh.ProxyTemplateKind, find, own...).Winner()
	if !ok {
		return nil
	}
	t := Template(winner.Policy)
	if !t.Bare && len(t.Resources) == 0 && len(t.Modifications) == 0 {
		return nil
	}
	if t.Bare {
		p.warn(t.From.String()+" conf.imports", "is empty: the proxy is told nothing of the mesh, and calls of its workload fail; leave imports out, or name %s", mesh.DefaultProxy)
	}
	return t
}

// Template says a ProxyTemplate in the plan's words.
func Template(r *mesh.Resource) *proxy.Template {
	c := &r.Spec.(*mesh.ProxyTemplate).Conf
	t := &proxy.Template{From: originOf(r), Bare: c.Imports != nil && len(*c.Imports) == 0}
	for i, raw := range c.Resources {
		t.Resources = append(t.Resources, proxy.Raw{Part: fmt.Sprintf("conf.resources[%d]", i), Name: raw.Name, Text: raw.Resource})
	}
	for i := range c.Modifications {
		m := modification(&c.Modifications[i])
		m.Part = fmt.Sprintf("conf.modifications[%d].%s", i, m.Of)
		t.Modifications = append(t.Modifications, m)
	}
	return t
}

// modification says one in the plan's words: what is done is called alike.
func modification(m *mesh.Modification) (to proxy.Modification) {
	switch {
	case m.Cluster != nil:
		to = proxy.Modification{Of: proxy.OfCluster, Do: m.Cluster.Operation, Text: m.Cluster.Value}
		if k := m.Cluster.Match; k != nil {
			to.Pick = proxy.Pick{Origin: k.Origin, Name: k.Name}
		}
	case m.Listener != nil:
		to = proxy.Modification{Of: proxy.OfListener, Do: m.Listener.Operation, Text: m.Listener.Value}
		if k := m.Listener.Match; k != nil {
			to.Pick = proxy.Pick{Origin: k.Origin, Name: k.Name, Tags: maps.Clone(k.Tags)}
		}
	case m.NetworkFilter != nil:
		to = filterModification(proxy.OfNetworkFilter, m.NetworkFilter)
	case m.HTTPFilter != nil:
		to = filterModification(proxy.OfHTTPFilter, m.HTTPFilter)
	case m.VirtualHost != nil:
		to = proxy.Modification{Of: proxy.OfVirtualHost, Do: m.VirtualHost.Operation, Text: m.VirtualHost.Value}
		if k := m.VirtualHost.Match; k != nil {
			to.Pick = proxy.Pick{Origin: k.Origin, Name: k.Name, Routes: k.RouteConfigurationName}
		}
	}
	return to
}

func filterModification(of string, m *mesh.FilterModification) proxy.Modification {
	to := proxy.Modification{Of: of, Do: m.Operation, Text: m.Value}
	if k := m.Match; k != nil {
		to.Pick = proxy.Pick{Origin: k.Origin, Name: k.Name, Listener: k.ListenerName, Tags: maps.Clone(k.ListenerTags)}
	}
	return to
}
