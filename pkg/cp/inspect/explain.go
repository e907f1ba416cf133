package inspect

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/plan"
	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// A Call is what Explain is asked about. Each side is a service, a dataplane,
// or tags as in "kuma.io/service=web,version=v1".
type Call struct {
	From, To string
	Method   string            // default GET
	Path     string            // default /
	Headers  map[string]string // names in lower case
}

// maxEndpoints is how many endpoints are looked at, each of which costs a plan.
const maxEndpoints = 20

// Explain tells what becomes of a call: it makes the caller's plan, follows its
// routes to endpoints, and asks the plan of each endpoint whether it lets the
// caller in. It fails with mesh.ErrInvalid where a side is nobody.
func Explain(m *snapshot.Mesh, call Call, online Online) (*api.Explanation, error) {
	from, errFrom := partyOf(m, "from", call.From)
	to, errTo := partyOf(m, "to", call.To)
	if err := both(errFrom, errTo); err != nil {
		return nil, err
	}
	var v mesh.Violations
	if len(from.dataplanes) == 0 {
		v.Add("from", "service %s is outside of the mesh: what it calls goes through no proxy", from.service)
	}
	if to.service == "" {
		v.Add("to", "names no service: add the tag %s", mesh.ServiceTag)
	}
	if err := v.Err(); err != nil {
		return nil, err
	}
	call.Method, call.Path = cmp.Or(call.Method, "GET"), cmp.Or(call.Path, "/")
	x := &explainer{mesh: m, call: call, online: online, from: from, to: to, plans: map[string]*proxy.Config{}}
	if err := x.explain(); err != nil {
		return nil, err
	}
	return &x.doc, nil
}

// both joins what is wrong with the two sides.
func both(a, b error) error {
	var v mesh.Violations
	for _, err := range []error{a, b} {
		if w, ok := err.(mesh.Violations); ok { //nolint:errorlint // partyOf returns nothing else
			v = append(v, w...)
		}
	}
	return v.Err()
}

// An explainer is the work on one call.
type explainer struct {
	mesh     *snapshot.Mesh
	call     Call
	online   Online
	from, to party
	caller   *proxy.Config
	plans    map[string]*proxy.Config // of callees
	doc      api.Explanation
}

func (x *explainer) because(text string, args ...any) {
	x.doc.Why = append(x.doc.Why, fmt.Sprintf(text, args...))
}

// fails ends the work: the call leads nowhere.
func (x *explainer) fails(text string, args ...any) {
	x.doc.Verdict = api.VerdictFails
	x.because(text, args...)
}

func (x *explainer) explain() error {
	first := x.from.dataplanes[0]
	x.from.Dataplane, x.from.Others = first.Meta.Name, len(x.from.dataplanes)-1
	x.to.Others = max(0, len(x.to.dataplanes)-1)
	x.doc = api.Explanation{Mesh: x.mesh.Name(), From: x.from.Party, To: x.to.Party, Why: []string{}}
	c, warnings, err := planOf(x.mesh, first.Meta.Name)
	if err != nil {
		return err
	}
	x.caller = c
	for _, w := range warnings {
		if strings.Contains(w.Part+" "+w.Text, x.to.service) {
			x.doc.Warnings = append(x.doc.Warnings, api.Finding(w))
		}
	}
	out := x.outbound()
	if out == nil {
		x.unheard(first.Spec.(*mesh.Dataplane))
		return nil
	}
	x.doc.Outbound = &api.ExplainedOutbound{Name: out.Name, Protocol: out.Protocol}
	for _, l := range out.Listen {
		x.doc.Outbound.Listen = append(x.doc.Outbound.Listen, l.String())
	}
	x.callerEffects(out)
	route := x.route(out)
	if route == nil {
		return nil
	}
	for _, to := range route.To {
		x.cluster(to.Cluster)
	}
	return x.judge()
}

// outbound is how the caller's proxy knows what is called: by just the tags
// that were asked for where it does, else the service as a whole.
func (x *explainer) outbound() (found *proxy.Outbound) {
	for i := range x.caller.Outbounds {
		out := &x.caller.Outbounds[i]
		switch {
		case out.Service != x.to.service:
		case len(x.to.tags) > 1 && maps.Equal(out.Tags, map[string]string(x.to.tags)):
			return out
		case found == nil || len(out.Tags) < len(found.Tags):
			found = out
		}
	}
	return found
}

// unheard tells why the caller's proxy has no outbound for the service.
func (x *explainer) unheard(dp *mesh.Dataplane) {
	t, name := dp.Networking.TransparentProxying, x.from.Dataplane
	switch {
	case t == nil || t.RedirectPortOutbound == 0:
		x.fails("the proxy of %s knows nothing of service %s: traffic is not redirected there, so services have to be listed; add it to networking.outbound", name, x.to.service)
	case len(t.ReachableServices) > 0 && !slices.Contains(t.ReachableServices, x.to.service):
		x.fails("service %s is not among networking.transparentProxying.reachableServices of %s", x.to.service, name)
	case x.mesh.Spec().PermittedOnly():
		x.fails("the proxy of %s is told only of services that a TrafficPermission lets it call, and none names service %s with it", name, x.to.service)
	default:
		x.fails("the proxy of %s knows nothing of service %s", name, x.to.service)
	}
}

// route finds the rule that the call takes; nil where it leads nowhere.
func (x *explainer) route(out *proxy.Outbound) *proxy.Route {
	from := out.Routes.From.String()
	if len(out.Routes.Rules) == 0 {
		x.fails("no route leads to service %s: the mesh has TrafficRoutes, but none selects this call", x.to.service)
		return nil
	}
	asked := x.call.Method + " " + x.call.Path
	for i := range out.Routes.Rules {
		r := &out.Routes.Rules[i]
		if !proxy.IsHTTP(out.Protocol) && r.Match != nil || !matches(r.Match, x.call) {
			continue
		}
		x.doc.Route = &api.ExplainedRoute{From: from, Rule: i, Of: len(out.Routes.Rules), Match: inWords(r.Match), To: []api.RouteDestination{}}
		x.destinations(r.To)
		if r.Modify != nil {
			x.doc.Route.Modify = asJSON(r.Modify)
		}
		if len(r.To) == 0 {
			x.fails("%s matches rule %d of %s, which leads nowhere", asked, i, from)
			return nil
		}
		return r
	}
	x.fails("%s is matched by no rule of %s", asked, cmp.Or(from, "the route"))
	return nil
}

func (x *explainer) destinations(to []proxy.Weighted) {
	sum := uint64(0)
	for _, w := range to {
		sum += uint64(w.Weight)
	}
	for _, w := range to {
		d := api.RouteDestination{Cluster: w.Cluster, Percent: int((uint64(w.Weight)*100 + sum/2) / max(1, sum))}
		if c := x.clusterNamed(w.Cluster); c != nil {
			d.Service, d.Tags = c.Service, x.subset(c)
		}
		x.doc.Route.To = append(x.doc.Route.To, d)
	}
}

// subset is which of a service's endpoints a cluster has, by their tags; nil is
// all of them.
func (x *explainer) subset(c *proxy.Cluster) map[string]string {
	for _, tags := range x.mesh.Instances(c.Service).Subsets() {
		if plan.Cluster(tags) == c.Name {
			more := maps.Clone(map[string]string(tags))
			delete(more, mesh.ServiceTag)
			return more
		}
	}
	return nil
}

func (x *explainer) clusterNamed(name string) *proxy.Cluster {
	for i := range x.caller.Clusters {
		if x.caller.Clusters[i].Name == name {
			return &x.caller.Clusters[i]
		}
	}
	return nil
}

// cluster tells what holds for the endpoints of a cluster, and which they are.
func (x *explainer) cluster(name string) {
	c := x.clusterNamed(name)
	if c == nil {
		return
	}
	x.clusterEffects(c)
	if c.External != nil {
		for _, m := range c.External.Members {
			x.doc.Endpoints = append(x.doc.Endpoints, api.ExplainedEndpoint{
				Cluster: name, Address: fmt.Sprintf("%s:%d", m.Host, m.Port), Tags: m.Tags, Connected: true, Allowed: true,
				Why: fmt.Sprintf("%s is outside of the mesh: the caller's own proxy decides, and lets it out", m.From),
			})
		}
		for _, why := range c.External.Without {
			x.doc.Endpoints = append(x.doc.Endpoints, api.ExplainedEndpoint{Cluster: name, Connected: true, Why: why})
		}
		return
	}
	dataplanes := map[string]string{} // by address
	for in := range x.mesh.Instances(c.Service).All() {
		dataplanes[in.Address.String()] = in.Dataplane
	}
	for _, e := range plan.Endpoints(x.mesh, c.Service) {
		if e.Cluster != cmp.Or(c.Endpoints, c.Name) {
			continue
		}
		for _, member := range e.Members {
			dp := dataplanes[member.Address.String()]
			if x.to.Dataplane != "" && dp != x.to.Dataplane {
				continue
			}
			if len(x.doc.Endpoints) >= maxEndpoints {
				x.doc.MoreEndpoints++
				continue
			}
			x.endpoint(name, dp, member)
		}
	}
}

// endpoint asks the plan of an endpoint's dataplane whether it lets the caller
// in.
func (x *explainer) endpoint(cluster, dataplane string, member proxy.Endpoint) {
	e := api.ExplainedEndpoint{
		Cluster: cluster, Address: member.Address.String(), Dataplane: dataplane, Tags: member.Tags,
		Connected: x.online(x.mesh.Name(), dataplane),
	}
	c := x.plans[dataplane]
	if c == nil {
		c, _, _ = planOf(x.mesh, dataplane) // nil says enough
		x.plans[dataplane] = c
	}
	if c != nil {
		for i := range c.Inbounds {
			if in := &c.Inbounds[i]; in.Listen.Port() == member.Address.Port() && in.Service == x.clusterNamed(cluster).Service {
				e.Allowed, e.Policy, e.Why = allows(in.Access, x.caller), in.Access.Policy, in.Access.Why
				x.calleeEffects(dataplane, in)
				break
			}
		}
	}
	x.doc.Endpoints = append(x.doc.Endpoints, e)
}

// allows tells whether an inbound lets the caller in. In a PERMISSIVE mesh
// callers speak in plain, which comes in unasked.
func allows(a proxy.Access, caller *proxy.Config) bool {
	if a.Mode != proxy.Strict {
		return true
	}
	if caller.Identity == nil {
		return false
	}
	return slices.ContainsFunc(a.Allow, func(p proxy.Principal) bool {
		return !slices.ContainsFunc(p.URIs, func(uri string) bool { return !slices.Contains(caller.Identity.URIs, uri) })
	})
}

// judge makes one verdict of what the endpoints say.
func (x *explainer) judge() error {
	in, out := 0, 0
	for _, e := range x.doc.Endpoints {
		if e.Allowed {
			in++
		} else {
			out++
		}
	}
	said := map[string]bool{}
	tell := func(allowed bool) {
		for _, e := range x.doc.Endpoints {
			if e.Allowed == allowed && e.Why != "" && !said[e.Why] {
				said[e.Why] = true
				x.because("%s", e.Why)
			}
		}
	}
	switch {
	case in == 0 && out == 0:
		x.fails("nothing answers: no ready inbound of %s is known", cmp.Or(x.to.Dataplane, "service "+x.to.service))
	case out == 0:
		x.doc.Verdict = api.VerdictAllowed
		tell(true)
	case in == 0:
		x.doc.Verdict = api.VerdictDenied
		tell(false)
	default:
		x.doc.Verdict = api.VerdictMixed
		x.because("%d endpoints let the call in, %d do not", in, out)
		tell(false)
		tell(true)
	}
	return nil
}

// asJSON prints a part of a plan, which always can be.
func asJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
