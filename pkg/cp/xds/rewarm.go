package xds

import (
	"crypto/sha256"
	"maps"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/anypb"
)

// A rewarmer sends the endpoints of a changed cluster again.
//
// Envoy builds a changed cluster beside the old one and keeps it out of use
// until endpoints arrive for it, but does not ask for them: it already follows
// them for the old one. It does not even acknowledge the clusters before. A
// server that sends only what differs would let it wait for the whole initial
// fetch timeout, 15 s.
// https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#resource-warming
//
// So right behind a response with changed clusters, the endpoints are looked at
// once more, with those of the changed clusters counted as not sent.
//
// All of it belongs to the goroutine that runs the protocol.
type rewarmer struct {
	known map[string]string            // delta: clusters that the proxy has, owned by the library
	sums  map[string][sha256.Size]byte // state of the world: the same, by content

	names  map[string]bool // whose endpoints are to be sent again
	again  func() error    // looks at endpoints once more; nil while an answer to the last look is on its way
	cancel func()          // of the last look
}

// knows notes what a proxy has, from its subscription to clusters.
func (w *rewarmer) knows(typeURL string, sub cache.Subscription) {
	if typeURL == resource.ClusterType {
		w.known = sub.ReturnedResources()
	}
}

// watch opens a watch of the library's cache; those of endpoints can be
// opened again.
func (w *rewarmer) watch(typeURL string, sub cache.Subscription, open func(cache.Subscription) (func(), error)) (func(), error) {
	if typeURL != resource.EndpointType {
		return open(sub)
	}
	w.again = func() (err error) {
		w.stop()
		w.cancel, err = open(w.mask(sub))
		return err
	}
	return w.stop, w.again()
}

func (w *rewarmer) stop() {
	if w.cancel != nil {
		w.cancel()
		w.cancel = nil
	}
}

// mask is sub without what is to be sent again.
func (w *rewarmer) mask(sub cache.Subscription) cache.Subscription {
	if len(w.names) == 0 {
		return sub
	}
	names := w.names
	w.names = nil
	known := maps.Clone(sub.ReturnedResources())
	maps.DeleteFunc(known, func(name, _ string) bool { return names[name] })
	return masked{sub, known}
}

type masked struct {
	cache.Subscription
	known map[string]string
}

func (m masked) ReturnedResources() map[string]string { return m.known }

// sawDelta is told of every response before it is sent.
func (w *rewarmer) sawDelta(r *discoveryv3.DeltaDiscoveryResponse) error {
	var changed []string
	if r.GetTypeUrl() == resource.ClusterType {
		for _, res := range r.GetResources() {
			if _, had := w.known[res.GetName()]; had {
				changed = append(changed, endpointsOf(res.GetName(), res.GetResource()))
			}
		}
	}
	return w.saw(r.GetTypeUrl(), changed)
}

// sawWorld is sawDelta for the state of the world.
func (w *rewarmer) sawWorld(r *discoveryv3.DiscoveryResponse) error {
	var changed []string
	if r.GetTypeUrl() == resource.ClusterType {
		now := make(map[string][sha256.Size]byte, len(r.GetResources()))
		for _, res := range r.GetResources() {
			name, sum := nameOf(r.GetTypeUrl(), res.GetValue()), sha256.Sum256(res.GetValue())
			now[name] = sum
			if old, had := w.sums[name]; had && old != sum {
				changed = append(changed, endpointsOf(name, res))
			}
		}
		w.sums = now
	}
	return w.saw(r.GetTypeUrl(), changed)
}

func (w *rewarmer) saw(typeURL string, changed []string) error {
	if typeURL == resource.EndpointType {
		w.again = nil // until the proxy has answered; names wait for that
		return nil
	}
	if len(changed) == 0 {
		return nil
	}
	if w.names == nil {
		w.names = map[string]bool{}
	}
	for _, name := range changed {
		w.names[name] = true
	}
	if w.again == nil {
		return nil
	}
	return w.again()
}

// endpointsOf is the name under which a cluster asks for its endpoints.
func endpointsOf(cluster string, body *anypb.Any) string {
	var c clusterv3.Cluster
	if err := body.UnmarshalTo(&c); err != nil {
		return cluster
	}
	return endpointsName(&c)
}

// nameOf reads the name of an encoded resource: it is field 1 of each of
// Envoy's that we send.
func nameOf(typeURL string, b []byte) string {
	if typeURL == NamesType {
		return NamesResource
	}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return ""
		}
		b = b[n:]
		if num == 1 && typ == protowire.BytesType {
			name, n := protowire.ConsumeString(b)
			if n < 0 {
				return ""
			}
			return name
		}
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return ""
		}
		b = b[n:]
	}
	return ""
}
