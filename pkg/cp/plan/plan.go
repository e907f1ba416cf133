// Package plan works out what one proxy must do from what the mesh says.
//
// For makes the plan of one proxy out of what it reads through a View, so that
// the View can tell later whether the plan is still right. What all proxies of
// a mesh share is made apart, once for all: Endpoints, Names.
//
// Everything here is a function of its arguments, and equal arguments give
// equal bytes.
package plan

import (
	"fmt"
	"sync"

	"github.com/weft-mesh/weft/pkg/cp/policy"
	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// A Warning is something that a plan could not do as it was asked.
type Warning = proxy.Warning

// For plans one proxy. The plan is nil where the mesh has no dataplane of that
// name.
func For(v *snapshot.View, name string) (*proxy.Config, []Warning) {
	r := v.Dataplane(name)
	if r == nil {
		return nil, nil
	}
	p := &planner{
		view: v, spec: v.Spec(), dp: r.Spec.(*mesh.Dataplane), labels: r.Meta.Labels, externals: v.Policies(mesh.ExternalServiceKind),
		clusters: map[string]*cluster{}, secrets: map[string]proxy.Secret{}, choices: choices{}, asked: map[string]bool{}, logLines: map[logLine][]string{},
	}
	p.calls = sync.OnceValue(func() snapshot.Likeness { return calls(p.dp.TagSets(), p.asked) })
	c := &proxy.Config{
		ID:          proxy.ID{Mesh: v.Name(), Name: name},
		Identity:    p.identity(),
		Transparent: p.transparent(),
		Inbounds:    p.inbounds(),
		Outbounds:   p.outbounds(),
		Tags:        p.tags(),
		Tracing:     p.tracing(),
		Template:    p.template(),
	}
	c.Metrics = p.metrics(c)
	c.Probes = p.probes(c)
	c.Clusters, c.Secrets = p.allClusters(), p.allSecrets()
	p.warnUnrouted()
	return c, p.warnings
}

// A planner holds what the parts of one plan read and write.
type planner struct {
	view      *snapshot.View
	spec      *mesh.MeshSpec
	dp        *mesh.Dataplane
	labels    map[string]string    // of dp
	services  *snapshot.ServiceSet // nil: nobody has needed all of them
	choices   choices
	asked     map[string]bool          // services that policies were asked for
	calls     func() snapshot.Likeness // of the workload, once all is asked
	externals *snapshot.PolicySet      // nil: nothing is outside
	clusters  map[string]*cluster      // by name
	secrets   map[string]proxy.Secret  // by name
	logLines  map[logLine][]string
	unrouted  []string // outbounds that no TrafficRoute selects
	warnings  []Warning
}

func (p *planner) warn(part, text string, args ...any) {
	p.warnings = append(p.warnings, Warning{Part: part, Text: fmt.Sprintf(text, args...)})
}

// allServices are those of the mesh.
func (p *planner) allServices() *snapshot.ServiceSet {
	if p.services == nil {
		p.services = p.view.Services()
	}
	return p.services
}

// service looks one service up, its Name is "" where the mesh has no such one.
// A plan that read all of them depends on this one already.
func (p *planner) service(name string) snapshot.Service {
	if p.services != nil {
		s, _ := p.services.Get(name)
		return s
	}
	return p.view.Service(name)
}

// protocol is what a service speaks, "" where the mesh has no such one.
func (p *planner) protocol(service string) string { return p.service(service).Protocol }

// mode returns how the mesh treats what is not mTLS.
func (p *planner) mode() string {
	switch b := p.spec.Backend(); {
	case b == nil:
		return proxy.Plain
	case b.Permissive():
		return proxy.Permissive
	default:
		return proxy.Strict
	}
}

func (p *planner) transparent() *proxy.Transparent {
	t := p.dp.Networking.TransparentProxying
	if t == nil || t.RedirectPortInbound == 0 && t.RedirectPortOutbound == 0 {
		return nil
	}
	return &proxy.Transparent{
		InboundPort:  uint16(t.RedirectPortInbound),
		OutboundPort: uint16(t.RedirectPortOutbound),
		Passthrough:  p.spec.Passthrough(),
		AccessLogs:   p.passthroughLogs(),
		Family:       family(t),
		Forwarded:    t.RedirectForwarded,
	}
}

// family is the only one that the host says it has, or "".
func family(t *mesh.TransparentProxying) string {
	switch t.IPFamilyMode {
	case "IPv4":
		return proxy.IPv4
	case "IPv6":
		return proxy.IPv6
	default:
		return ""
	}
}

// origin is what the plan says of where a value comes from.
func origin(m policy.Match) proxy.Origin { return originOf(m.Policy) }

func originOf(r *mesh.Resource) proxy.Origin {
	return proxy.Origin{Kind: r.Kind.Name, Name: r.Meta.Name}
}
