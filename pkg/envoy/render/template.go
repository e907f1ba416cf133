package render

import (
	"fmt"
	"slices"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// Origins of what a template itself brings. Those of the rest are in Resources.
const (
	originRaw      = "proxy-template-raw"
	originModified = "proxy-template-modifications"
)

// apply does what t says to all that was rendered. What cannot be done is left
// out and told: a template that was stored does not stop its proxy.
func (r *renderer) apply(t *proxy.Template) {
	for _, list := range [][]Resource{r.b.Listeners, r.b.Clusters, r.b.Routes} {
		for i := range list {
			list[i].Message = proto.Clone(list[i].Message) // parts of it are shared
		}
	}
	a := applier{renderer: r, from: t.From.String()}
	for _, raw := range t.Resources {
		m, err := parseRaw(raw)
		if err != nil {
			a.warn(raw.Part, "is left out: it %s", err)
			continue
		}
		a.put(m, raw.Name, originRaw)
	}
	for _, m := range t.Modifications {
		a.modify(m)
	}
}

type applier struct {
	*renderer
	from string
}

func (a *applier) warn(part, text string, args ...any) {
	a.b.Warnings = append(a.b.Warnings, proxy.Warning{Part: a.from + " " + part, Text: fmt.Sprintf(text, args...)})
}

// put adds a resource, in place of one of its name.
func (a *applier) put(m proto.Message, name, origin string) {
	list := &a.b.Routes
	switch m.(type) {
	case *clusterv3.Cluster:
		list = &a.b.Clusters
	case *listenerv3.Listener:
		list = &a.b.Listeners
	}
	*list = slices.DeleteFunc(*list, func(r Resource) bool { return r.Name == name })
	*list = append(*list, Resource{Name: name, Message: m, Origin: origin})
}

// modify does one modification.
func (a *applier) modify(m proxy.Modification) {
	var value proto.Message
	if m.Do != proxy.Remove {
		v, err := parseValue(m)
		if err != nil {
			a.warn(m.Part, "is left out: its value %s", err)
			return
		}
		value = v
	}
	hits := 0
	switch m.Of {
	case proxy.OfCluster:
		a.b.Clusters, hits = a.whole(a.b.Clusters, m, value)
	case proxy.OfListener:
		a.b.Listeners, hits = a.whole(a.b.Listeners, m, value)
	case proxy.OfNetworkFilter:
		hits = a.networkFilters(m, value)
	case proxy.OfHTTPFilter:
		hits = a.httpFilters(m, value)
	case proxy.OfVirtualHost:
		hits = a.virtualHosts(m, value)
	}
	if hits == 0 {
		a.warn(m.Part, "%s matches nothing of this proxy: see what there is by weftctl inspect dataplane NAME --stage render", m.Do)
	}
}

// whole adds, removes or patches listeners or clusters, and counts them.
func (a *applier) whole(list []Resource, m proxy.Modification, value proto.Message) (now []Resource, hits int) {
	if m.Do == proxy.Add {
		named, ok := value.(interface{ GetName() string })
		if !ok {
			return list, 0
		}
		list = slices.DeleteFunc(list, func(r Resource) bool { return r.Name == named.GetName() })
		return append(list, Resource{Name: named.GetName(), Message: value, Origin: originModified}), 1
	}
	for _, r := range list {
		l, _ := r.Message.(*listenerv3.Listener)
		if !picks(m.Pick.Origin, r.Origin) || !picks(m.Pick.Name, r.Name) || l != nil && !hasTags(l, m.Pick.Tags) {
			now = append(now, r)
			continue
		}
		hits++
		if m.Do == proxy.Patch {
			merge(r.Message, value)
			now = append(now, r)
		}
	}
	return now, hits
}

// picks tells whether a wish, where there is one, is met.
func picks(wish, is string) bool { return wish == "" || wish == is }

// hasTags tells whether a listener is of what carries all of tags.
func hasTags(l *listenerv3.Listener, tags map[string]string) bool {
	fields := l.GetMetadata().GetFilterMetadata()[tagsMetadata].GetFields()
	for k, want := range tags {
		if got, ok := fields[k]; !ok || want != "*" && got.GetStringValue() != want {
			return false
		}
	}
	return true
}

// chains calls f for every filter chain of the listeners that m picks.
func (a *applier) chains(m proxy.Modification, f func(*listenerv3.FilterChain)) {
	for _, r := range a.b.Listeners {
		l, ok := r.Message.(*listenerv3.Listener)
		if !ok || !picks(m.Pick.Origin, r.Origin) || !picks(m.Pick.Listener, r.Name) || !hasTags(l, m.Pick.Tags) {
			continue
		}
		for _, c := range l.FilterChains {
			f(c)
		}
		if l.DefaultFilterChain != nil {
			f(l.DefaultFilterChain)
		}
	}
}

func (a *applier) networkFilters(m proxy.Modification, value proto.Message) (hits int) {
	filter, _ := value.(*listenerv3.Filter)
	a.chains(m, func(c *listenerv3.FilterChain) {
		var n int
		c.Filters, n = filters(c.Filters, m, filter)
		hits += n
	})
	return hits
}

func (a *applier) httpFilters(m proxy.Modification, value proto.Message) (hits int) {
	filter, _ := value.(*hcmv3.HttpFilter)
	a.managers(m, func(h *hcmv3.HttpConnectionManager) {
		var n int
		h.HttpFilters, n = filters(h.HttpFilters, m, filter)
		hits += n
	})
	return hits
}

// managers calls f for every connection manager of the listeners that m picks.
func (a *applier) managers(m proxy.Modification, f func(*hcmv3.HttpConnectionManager)) {
	a.chains(m, func(c *listenerv3.FilterChain) {
		for _, filter := range c.Filters {
			h := new(hcmv3.HttpConnectionManager)
			if !filter.GetTypedConfig().MessageIs(h) || filter.GetTypedConfig().UnmarshalTo(h) != nil {
				continue
			}
			f(h)
			filter.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: a.any(h)}
		}
	})
}

// A namedFilter is one of either kind of filter.
type namedFilter interface {
	proto.Message
	GetName() string
}

// filters changes one chain of filters as m says, and counts what it did.
func filters[F namedFilter](list []F, m proxy.Modification, value F) ([]F, int) {
	at := func() int { return slices.IndexFunc(list, func(f F) bool { return f.GetName() == m.Pick.Name }) }
	fresh := func() F { return proto.Clone(value).(F) }
	switch m.Do {
	case proxy.AddFirst:
		return slices.Insert(list, 0, fresh()), 1
	case proxy.AddLast:
		return append(list, fresh()), 1
	case proxy.AddBefore, proxy.AddAfter:
		i := at()
		if i < 0 {
			return list, 0
		}
		if m.Do == proxy.AddAfter {
			i++
		}
		return slices.Insert(list, i, fresh()), 1
	}
	hits := 0
	var now []F
	for _, f := range list {
		if !picks(m.Pick.Name, f.GetName()) {
			now = append(now, f)
			continue
		}
		hits++
		if m.Do == proxy.Patch {
			merge(f, value)
			now = append(now, f)
		}
	}
	return now, hits
}

// virtualHosts changes route configurations, those that are fetched and those
// that stand in listeners.
func (a *applier) virtualHosts(m proxy.Modification, value proto.Message) (hits int) {
	host, _ := value.(*routev3.VirtualHost)
	change := func(rc *routev3.RouteConfiguration) {
		if rc == nil || !picks(m.Pick.Routes, rc.GetName()) {
			return
		}
		if m.Do == proxy.Add {
			rc.VirtualHosts = append(rc.VirtualHosts, proto.CloneOf(host))
			hits++
			return
		}
		var n int
		rc.VirtualHosts, n = filters(rc.VirtualHosts, m, host)
		hits += n
	}
	for _, r := range a.b.Routes {
		if rc, ok := r.Message.(*routev3.RouteConfiguration); ok && picks(m.Pick.Origin, r.Origin) {
			change(rc)
		}
	}
	a.managers(proxy.Modification{Pick: proxy.Pick{Origin: m.Pick.Origin}}, func(h *hcmv3.HttpConnectionManager) { change(h.GetRouteConfig()) })
	return hits
}
