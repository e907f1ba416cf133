package inspect

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// A place is where in a proxy policies act.
type place struct {
	api.Attachment
	origins []proxy.Origin
}

// ofService are the kinds that Kuma attaches to a service that is called, and
// not to where it is called at.
var ofService = []*mesh.Kind{mesh.HealthCheckKind, mesh.CircuitBreakerKind, mesh.RetryKind, mesh.TrafficLogKind}

func isOfService(o proxy.Origin) bool {
	return slices.ContainsFunc(ofService, func(k *mesh.Kind) bool { return k.Name == o.Kind })
}

// places lists where policies act in a plan, as Kuma names it, sorted by type
// and name. A place at which none acts is not listed.
func places(c *proxy.Config) []place {
	all := map[api.Attachment][]proxy.Origin{}
	add := func(a api.Attachment, os ...proxy.Origin) {
		for _, o := range os {
			if !slices.Contains(all[a], o) {
				all[a] = append(all[a], o)
			}
		}
	}
	whole := api.Attachment{Type: api.AttachedDataplane}
	add(whole, proxy.Origins(c.Tracing, c.Template, c.Metrics)...)
	if c.Transparent != nil {
		add(whole, proxy.Origins(c.Transparent.AccessLogs)...)
	}
	for i := range c.Inbounds {
		in := &c.Inbounds[i]
		at := api.Attachment{
			Type: api.AttachedInbound, Service: in.Service,
			Name: fmt.Sprintf("%s:%d", in.Listen, in.Workload.Port()),
		}
		if in.Access.Policy != "" {
			add(at, permission(in.Access))
		}
		add(at, proxy.Origins(in)...)
	}
	for i := range c.Outbounds {
		out := &c.Outbounds[i]
		for _, o := range proxy.Origins(out) {
			if isOfService(o) {
				add(api.Attachment{Type: api.AttachedService, Name: out.Service, Service: out.Service}, o)
				continue
			}
			for _, l := range out.Listen {
				add(api.Attachment{Type: api.AttachedOutbound, Name: l.String(), Service: out.Service}, o)
			}
		}
	}
	for i := range c.Clusters {
		cl := &c.Clusters[i]
		for _, o := range proxy.Origins(cl) {
			if isOfService(o) {
				add(api.Attachment{Type: api.AttachedService, Name: cl.Service, Service: cl.Service}, o)
			}
		}
	}
	var list []place
	for at, os := range all {
		list = append(list, place{at, os})
	}
	slices.SortFunc(list, func(a, b place) int {
		return cmp.Or(strings.Compare(a.Type, b.Type), strings.Compare(a.Name, b.Name), strings.Compare(a.Service, b.Service))
	})
	return list
}

func permission(a proxy.Access) proxy.Origin {
	return proxy.Origin{Kind: mesh.TrafficPermissionKind.Name, Name: a.Policy}
}

// Policies lists what acts on a dataplane. It fails with store.ErrNotFound for
// one that there is not.
func Policies(m *snapshot.Mesh, name string) (*api.DataplanePolicies, error) {
	c, _, err := planOf(m, name)
	if err != nil {
		return nil, err
	}
	doc := &api.DataplanePolicies{Kind: api.KindSidecar, Items: []api.MatchedPolicies{}}
	for _, p := range places(c) {
		item := api.MatchedPolicies{Attachment: p.Attachment, Policies: map[string][]api.ResourceMeta{}}
		for _, o := range p.origins {
			if r := find(m, o); r != nil {
				item.Policies[o.Kind] = append(item.Policies[o.Kind], api.MetaOf(*r))
			}
		}
		if len(item.Policies) > 0 {
			doc.Items = append(doc.Items, item)
		}
	}
	doc.Total = len(doc.Items)
	return doc, nil
}

// find returns the policy that an origin names.
func find(m *snapshot.Mesh, o proxy.Origin) *mesh.Resource {
	k, ok := mesh.KindByName(o.Kind)
	if !ok {
		return nil
	}
	all := m.Policies(k).All()
	i, ok := slices.BinarySearchFunc(all, o.Name, func(r *mesh.Resource, name string) int { return strings.Compare(r.Meta.Name, name) })
	if !ok {
		return nil
	}
	return all[i]
}

// Attached lists the dataplanes on which a policy acts, sorted by name, each
// with where. It makes the plan of every dataplane that the policy's selectors
// could mean, and ends with ctx.
func Attached(ctx context.Context, m *snapshot.Mesh, policy proxy.Origin) ([]api.PolicyDataplane, error) {
	found := []api.PolicyDataplane{}
	var spec mesh.Spec
	if r := find(m, policy); r != nil {
		spec = r.Spec
	}
	for _, r := range m.Dataplanes() {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		if !couldMean(spec, r.Spec.(*mesh.Dataplane)) {
			continue
		}
		c, _, err := planOf(m, r.Meta.Name)
		if err != nil {
			return nil, err
		}
		if !comesFrom(c, policy) {
			continue
		}
		var at []api.Attachment
		for _, p := range places(c) {
			if slices.Contains(p.origins, policy) {
				at = append(at, p.Attachment)
			}
		}
		if len(at) > 0 {
			found = append(found, api.PolicyDataplane{
				Kind: api.KindSidecar, Dataplane: api.ResourceName{Mesh: m.Name(), Name: r.Meta.Name}, Attachments: at,
			})
		}
	}
	return found, nil
}

// comesFrom tells whether any value of a plan comes from a policy.
func comesFrom(c *proxy.Config, policy proxy.Origin) bool {
	for i := range c.Inbounds {
		if a := c.Inbounds[i].Access; a.Policy != "" && permission(a) == policy {
			return true
		}
	}
	return proxy.Names(c, policy)
}

var selectorsType = reflect.TypeFor[[]mesh.Selector]()

// couldMean tells whether some selector of a policy matches some part of a
// dataplane, whichever side of a call that is about. Of a policy that has none
// nothing is known.
func couldMean(spec mesh.Spec, dp *mesh.Dataplane) bool {
	if spec == nil {
		return false
	}
	sets, has := dp.TagSets(), false
	v := reflect.ValueOf(spec).Elem()
	for i := range v.NumField() {
		if v.Field(i).Type() != selectorsType {
			continue
		}
		has = true
		for _, s := range v.Field(i).Interface().([]mesh.Selector) {
			if slices.ContainsFunc(sets, s.Matches) {
				return true
			}
		}
	}
	return !has
}

// Layout tells what the proxy of a dataplane listens on and calls, under the
// names that Envoy knows it by. It fails with store.ErrNotFound.
func Layout(m *snapshot.Mesh, name string) (*api.Layout, error) {
	c, _, err := planOf(m, name)
	if err != nil {
		return nil, err
	}
	r := m.Dataplane(name)
	id := r.KRI(r.Meta.Labels[mesh.ZoneLabel])
	doc := &api.Layout{KRI: id, Labels: r.Meta.Labels, Inbounds: []api.LayoutPlace{}, Listeners: []api.LayoutPlace{}, Outbounds: []api.LayoutPlace{}}
	for _, in := range c.Inbounds {
		doc.Inbounds = append(doc.Inbounds, api.LayoutPlace{
			KRI: id + in.Name, Port: int(in.Listen.Port()), Protocol: in.Protocol, Proxy: "inbound:" + in.Listen.String(),
		})
	}
	for _, out := range c.Outbounds {
		for _, l := range out.Listen {
			doc.Outbounds = append(doc.Outbounds, api.LayoutPlace{Port: int(l.Port()), Protocol: out.Protocol, Proxy: "outbound:" + l.String()})
		}
	}
	if c.Identity != nil && len(c.Identity.URIs) > 0 {
		doc.SpiffeID = c.Identity.URIs[0]
	}
	return doc, nil
}
