package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/cp/policy"
	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// route says where calls of an outbound lead. As long as a mesh has no
// TrafficRoute at all they lead to what was called; from then on what no
// TrafficRoute selects leads nowhere.
func (p *planner) route(out *proxy.Outbound) {
	if !p.view.Any(mesh.TrafficRouteKind) {
		if cluster, ok := p.cluster(out.Tags, out.Protocol); ok {
			out.Routes.Rules = []proxy.Route{{To: []proxy.Weighted{{Cluster: cluster, Weight: 1}}}}
		}
		return
	}
	spec, m := chosen[*mesh.TrafficRoute](p, mesh.TrafficRouteKind, policy.Routes, out.Service)
	if spec == nil {
		p.unrouted = append(p.unrouted, out.Name)
		return
	}
	l := leading{planner: p, out: out, from: m, balancer: balancer(spec.Conf.LoadBalancer, origin(m))}
	out.Routes.From = origin(m)
	for i, h := range spec.Conf.HTTP {
		l.rule(fmt.Sprintf("conf.http[%d]", i), proxy.Route{Match: match(h.Match), Modify: modify(h.Modify)}, h.Split, h.Destination)
	}
	l.rule("conf", proxy.Route{}, spec.Conf.Split, spec.Conf.Destination)
	out.Protocol = snapshot.Common(l.protocols...)
	if !proxy.IsHTTP(out.Protocol) && len(spec.Conf.HTTP) > 0 {
		out.Routes.Rules = out.Routes.Rules[len(spec.Conf.HTTP):]
		if m.Selector.Match.Service() != mesh.Any {
			p.warn(l.part("conf.http"), "has no effect on calls of %s: what they lead to speaks %s in common", out.Service, out.Protocol)
		}
	}
}

// unroutedNames is how many outbounds without a route are named to people.
const unroutedNames = 10

// warnUnrouted tells what no TrafficRoute selects.
func (p *planner) warnUnrouted() {
	n := len(p.unrouted)
	if n == 0 {
		return
	}
	names := strings.Join(p.unrouted[:min(n, unroutedNames)], ", ")
	if n > unroutedNames {
		names += fmt.Sprintf(" and %d more", n-unroutedNames)
	}
	p.warn("outbounds", "calls of %s fail: the mesh has TrafficRoutes, but none selects them; apply one with these destinations and this dataplane among its sources, such as '*' to '*'", names)
}

// leading is the work of leading one outbound by one TrafficRoute.
type leading struct {
	*planner
	out       *proxy.Outbound
	from      policy.Match
	balancer  *proxy.LoadBalancer
	protocols []string // of all services that it leads to
}

func (l *leading) part(path string) string {
	return fmt.Sprintf("TrafficRoute %q %s", l.from.Policy.Meta.Name, path)
}

// rule adds one rule. It has no destination, and fails, where none can be
// called.
func (l *leading) rule(path string, r proxy.Route, split []mesh.RouteSplit, destination mesh.Tags) {
	if len(destination) > 0 {
		split = []mesh.RouteSplit{{Weight: 1, Destination: destination}}
	}
	for _, s := range split {
		if s.Weight == 0 {
			continue
		}
		tags := s.Destination.Target(l.out.Tags)
		protocol := l.protocol(tags.Service())
		cluster, ok := l.cluster(tags, protocol)
		if !ok {
			l.warnOnce(l.part(path), "%s cannot be called: its cluster's name is that of another part of the proxy; give the service another one", words(tags))
			continue
		}
		if protocol != "" {
			l.protocols = append(l.protocols, protocol)
		}
		l.balance(cluster)
		if i := slices.IndexFunc(r.To, func(w proxy.Weighted) bool { return w.Cluster == cluster }); i >= 0 {
			r.To[i].Weight += s.Weight
			continue
		}
		r.To = append(r.To, proxy.Weighted{Cluster: cluster, Weight: s.Weight})
	}
	l.out.Routes.Rules = append(l.out.Routes.Rules, r)
}

// balance has a cluster balanced as this route says. Where several routes lead
// to one cluster, those that name a balancer come before those that do not,
// then the one by which the service itself is called.
func (l *leading) balance(name string) {
	c := l.clusters[name]
	own := l.out.Service == c.Service
	switch {
	case l.balancer == nil:
		return
	case c.LoadBalancer != nil && !sameBalancer(c.LoadBalancer, l.balancer):
		lost, won := l.balancer.From, c.LoadBalancer.From
		if own && !c.ownBalancer {
			lost, won = won, lost
			c.LoadBalancer = l.balancer
		}
		l.warnOnce(fmt.Sprintf("%s conf.loadBalancer", lost), "has no effect on calls to %s: %s balances those already", name, won)
	case c.LoadBalancer == nil:
		c.LoadBalancer = l.balancer
	}
	c.ownBalancer = c.ownBalancer || own
}

func sameBalancer(a, b *proxy.LoadBalancer) bool {
	x, y := *a, *b
	x.From, y.From = proxy.Origin{}, proxy.Origin{}
	return x == y
}

func balancer(l *mesh.LoadBalancer, from proxy.Origin) *proxy.LoadBalancer {
	switch {
	case l == nil:
		return nil
	case l.LeastRequest != nil:
		return &proxy.LoadBalancer{From: from, Policy: proxy.LeastRequest, Choices: l.LeastRequest.ChoiceCount}
	case l.RingHash != nil:
		return &proxy.LoadBalancer{From: from, Policy: proxy.RingHash, Hash: l.RingHash.HashFunction, MinRing: l.RingHash.MinRingSize, MaxRing: l.RingHash.MaxRingSize}
	case l.Random != nil:
		return &proxy.LoadBalancer{From: from, Policy: proxy.Random}
	case l.Maglev != nil:
		return &proxy.LoadBalancer{From: from, Policy: proxy.Maglev}
	default:
		return &proxy.LoadBalancer{From: from, Policy: proxy.RoundRobin}
	}
}

func match(m *mesh.HTTPMatch) *proxy.Match {
	to := &proxy.Match{Method: text(m.Method), Path: text(m.Path)}
	for name, h := range m.Headers {
		to.Headers = append(to.Headers, proxy.HeaderText{Name: name, Text: *text(&h)})
	}
	slices.SortFunc(to.Headers, func(a, b proxy.HeaderText) int { return strings.Compare(a.Name, b.Name) })
	return to
}

func text(m *mesh.StringMatcher) *proxy.Text {
	if m == nil {
		return nil
	}
	return &proxy.Text{Exact: m.Exact, Prefix: m.Prefix, Regex: m.Regex}
}

func modify(m *mesh.HTTPModify) *proxy.Modify {
	if m == nil {
		return nil
	}
	to := &proxy.Modify{Request: headers(m.RequestHeaders), Response: headers(m.ResponseHeaders)}
	if p := m.Path; p != nil {
		to.Path = rewrite(p.RewritePrefix, p.Regex)
	}
	if h := m.Host; h != nil {
		to.Host = rewrite(h.Value, h.FromPath)
	}
	return to
}

func rewrite(value string, r *mesh.RegexReplace) *proxy.Rewrite {
	if r == nil {
		return &proxy.Rewrite{Value: value}
	}
	return &proxy.Rewrite{Pattern: r.Pattern, Substitution: r.Substitution}
}

func headers(m *mesh.HeadersModify) *proxy.Headers {
	if m == nil {
		return nil
	}
	to := &proxy.Headers{}
	for _, a := range m.Add {
		to.Add = append(to.Add, proxy.Header{Name: a.Name, Value: a.Value, Append: a.Append})
	}
	for _, r := range m.Remove {
		to.Remove = append(to.Remove, r.Name)
	}
	return to
}
