package relay

import (
	"maps"
	"slices"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// offer returns the next response for Envoy and makes it outstanding under
// nonce; nil when there is nothing to say now.
//
// At most one response of a kind is under way, so what changes meanwhile is
// told by its newest value. Listeners and routes wait until the clusters that
// they may name are accepted; clusters leave after what named them.
func (t *table) offer(nonce string) *discoveryv3.DeltaDiscoveryResponse {
	for i := range t {
		h := &t[i]
		if h.own || !h.view.open || h.view.out != nil {
			continue
		}
		if (i == listeners || i == routes) && t[clusters].busy() {
			continue
		}
		keep := i == clusters && (h.view.keep || t[listeners].busy() || t[routes].busy())
		out := h.compose(keep)
		if out == nil {
			continue
		}
		if i == clusters {
			t.warm(out.add)
		}
		out.nonce = nonce
		out.again = map[string]struct{}{}
		h.view.out = out
		h.view.told = true
		return &discoveryv3.DeltaDiscoveryResponse{
			SystemVersionInfo: h.version,
			TypeUrl:           h.url,
			Resources:         out.add,
			RemovedResources:  out.remove,
			Nonce:             nonce,
		}
	}
	return nil
}

// busy says that Envoy is still to be told of this kind. Removals that wait
// for other kinds do not count.
func (h *holding) busy() bool {
	v := &h.view
	if !v.open {
		return false
	}
	if v.out != nil || len(v.suspects) > 0 {
		return true
	}
	add, remove := h.compare()
	return len(add) > 0 || (len(remove) > 0 && !h.lastOut())
}

// compose picks what to send: a suspect alone, or all that differs, or what an
// earlier Envoy refused, or the empty answer that Envoy waits for when there
// is nothing of what it asked for.
func (h *holding) compose(keep bool) *outstanding {
	v := &h.view
	if len(v.suspects) > 0 {
		name := slices.Min(slices.Collect(maps.Keys(v.suspects)))
		delete(v.suspects, name)
		v.stale = true
		if res := h.effective(name); res != nil {
			return &outstanding{add: []*discoveryv3.Resource{res}}
		}
		return &outstanding{remove: []string{name}}
	}
	add, remove := h.compare()
	if keep {
		remove = nil
	}
	if len(add)+len(remove) > 0 {
		out := &outstanding{add: add, remove: remove, answers: h.pending}
		h.pending = ""
		return out
	}
	for len(v.retry) > 0 {
		name := v.retry[0]
		v.retry = v.retry[1:]
		if res := h.desired[name]; res != nil && h.isRefused(res) && v.wants(name) {
			v.stale = true
			return &outstanding{add: []*discoveryv3.Resource{res}}
		}
	}
	if v.all && (h.loaded || h.kept) && !v.told {
		return &outstanding{}
	}
	return nil
}

// warm has the endpoints of clusters that change sent again: Envoy takes a
// changed cluster into use once it has heard of its endpoints anew.
// Source: Envoy's xDS protocol page, "Resource warming".
func (t *table) warm(changed []*discoveryv3.Resource) {
	h := &t[endpoints]
	for _, res := range changed {
		if _, had := t[clusters].view.held[res.Name]; !had {
			continue
		}
		name := endpointsOf(res)
		if _, asked := h.view.names[name]; asked {
			h.view.outdate(name)
		}
	}
}

// synced says that Envoy accepted clusters and at least one listener, and
// whatever these made it ask for.
func (t *table) synced() bool {
	if !t[clusters].view.acked || !t[listeners].view.acked || len(t[listeners].accepted) == 0 {
		return false
	}
	return t.quiet()
}

// endpointsOf is the name under which a cluster asks for its endpoints.
func endpointsOf(res *discoveryv3.Resource) string {
	var c clusterv3.Cluster
	if err := res.GetResource().UnmarshalTo(&c); err == nil && c.GetEdsClusterConfig().GetServiceName() != "" {
		return c.GetEdsClusterConfig().GetServiceName()
	}
	return res.GetName()
}
