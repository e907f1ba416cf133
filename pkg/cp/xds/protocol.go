package xds

import (
	"slices"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A deltaStream judges every request before the library gets it.
type deltaStream struct {
	grpc.ServerStream
	st    *stream
	first *discoveryv3.DeltaDiscoveryRequest
}

func (d *deltaStream) Recv() (req *discoveryv3.DeltaDiscoveryRequest, err error) {
	defer d.st.contain(&err)
	if req, d.first = d.first, nil; req == nil {
		req = new(discoveryv3.DeltaDiscoveryRequest)
		if err := d.RecvMsg(req); err != nil {
			return nil, err
		}
	}
	if err := d.st.admit(req.GetNode(), req.GetTypeUrl()); err != nil {
		d.st.end(err)
		return nil, err
	}
	req.Node = nil // Envoy's is large, and every watch would keep it
	d.st.answered(req.GetTypeUrl(), req.GetResponseNonce(), reasonOf(req.GetErrorDetail() != nil, req.GetErrorDetail().GetMessage()))
	return req, nil
}

func (d *deltaStream) Send(r *discoveryv3.DeltaDiscoveryResponse) error {
	return d.st.send(func() error { return d.SendMsg(r) })
}

// A worldStream does the same for the state of the world.
type worldStream struct {
	grpc.ServerStream
	st    *stream
	first *discoveryv3.DiscoveryRequest
	asked map[string]bool // by type
}

func (w *worldStream) Recv() (req *discoveryv3.DiscoveryRequest, err error) {
	defer w.st.contain(&err)
	if req, w.first = w.first, nil; req == nil {
		req = new(discoveryv3.DiscoveryRequest)
		if err := w.RecvMsg(req); err != nil {
			return nil, err
		}
	}
	if err := w.st.admit(req.GetNode(), req.GetTypeUrl()); err != nil {
		w.st.end(err)
		return nil, err
	}
	req.Node = nil
	w.st.answered(req.GetTypeUrl(), req.GetResponseNonce(), reasonOf(req.GetErrorDetail() != nil, req.GetErrorDetail().GetMessage()))

	// The library answers a request without a version whatever happens. That
	// is right for the first of a type, where a reconnected proxy must learn
	// that all of it is gone. It is wrong for a refusal of the very first
	// response: the same would go out again, as fast as it is refused.
	req.VersionInfo = ""
	if w.asked[req.GetTypeUrl()] {
		req.VersionInfo = "some"
	}
	w.asked[req.GetTypeUrl()] = true
	return req, nil
}

func (w *worldStream) Send(r *discoveryv3.DiscoveryResponse) error {
	return w.st.send(func() error { return w.SendMsg(r) })
}

// lane chooses what a stream reads: its own proxy's, or its own mesh's.
func (st *stream) lane(typeURL string, sub cache.Subscription) (*cache.LinearCache, error) {
	if n := max(len(sub.SubscribedResources()), len(sub.ReturnedResources())); n > maxNames {
		return nil, status.Errorf(codes.ResourceExhausted, "the stream follows %d %s; %d is the limit", n, words[typeURL], maxNames)
	}
	switch typeURL {
	case resource.ClusterType:
		return st.entry.clusters.cache, nil
	case resource.ListenerType:
		return st.entry.listeners.cache, nil
	case resource.RouteType:
		return st.entry.routes.cache, nil
	case resource.SecretType:
		return st.entry.secrets.cache, nil
	case resource.EndpointType:
		return st.entry.mesh.endpoints.cache, nil
	case NamesType:
		return st.entry.mesh.names.cache, nil
	}
	return nil, status.Errorf(codes.InvalidArgument, "type URL %.128q is not served here", typeURL)
}

// CreateWatch and CreateDeltaWatch are how the library asks for what to send.

func (st *stream) CreateWatch(req *cache.Request, sub cache.Subscription, value chan cache.Response) (func(), error) {
	c, err := st.lane(req.GetTypeUrl(), sub)
	if err != nil {
		return nil, err
	}
	return st.warm.watch(req.GetTypeUrl(), sub, func(sub cache.Subscription) (func(), error) {
		return c.CreateWatch(req, sub, value)
	})
}

func (st *stream) CreateDeltaWatch(req *cache.DeltaRequest, sub cache.Subscription, value chan cache.DeltaResponse) (func(), error) {
	c, err := st.lane(req.GetTypeUrl(), sub)
	if err != nil {
		return nil, err
	}
	st.warm.knows(req.GetTypeUrl(), sub)
	return st.warm.watch(req.GetTypeUrl(), sub, func(sub cache.Subscription) (func(), error) {
		return c.CreateDeltaWatch(req, sub, value)
	})
}

var _ cache.ConfigWatcher = (*stream)(nil)

// deltaNames and worldNames name what a response carries, a few of them.
func deltaNames(r *discoveryv3.DeltaDiscoveryResponse) func() []string {
	return func() (names []string) {
		for _, res := range r.GetResources() {
			names = append(names, res.GetName())
		}
		return slices.Sorted(slices.Values(names))
	}
}

func worldNames(r *discoveryv3.DiscoveryResponse) func() []string {
	return func() (names []string) {
		for _, res := range r.GetResources() {
			names = append(names, nameOf(r.GetTypeUrl(), res.GetValue()))
		}
		return slices.Sorted(slices.Values(names))
	}
}
