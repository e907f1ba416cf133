package relay

import (
	"context"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
)

// An order is what the control plane tells the agent itself: whom the mesh
// trusts, and by whom its certificate should be. It is asked for anew on every
// stream and kept nowhere, as whoever follows it keeps what comes of it; its
// answer says that it was followed.
type order struct {
	url, resource string
	follow        func(body []byte, done func(error))

	open   bool    // it was asked for on this stream
	nonce  string  // of the newest that has no answer
	answer *answer // to be sent
	next   *told   // to be followed
}

// told is one order that came.
type told struct {
	body  []byte
	nonce string
}

// Places in orders.
const (
	trustOrder = iota
	issuerOrder
	orderCount
)

// newOrders are those that somebody wants to hear of.
func newOrders(c Config) (o [orderCount]order) {
	if c.OnTrust != nil {
		o[trustOrder] = order{
			url: "type.googleapis.com/weft.host.v1.Trust", resource: "trust",
			follow: func(body []byte, done func(error)) {
				var t hostv1.Trust
				err := proto.Unmarshal(body, &t)
				if err == nil {
					err = c.OnTrust(t.GetRoots())
				}
				done(err)
			},
		}
	}
	if c.OnIssuer != nil {
		o[issuerOrder] = order{
			url: "type.googleapis.com/weft.host.v1.Issuer", resource: "issuer",
			follow: func(body []byte, done func(error)) {
				var i hostv1.Issuer
				if err := proto.Unmarshal(body, &i); err != nil {
					done(err)
					return
				}
				c.OnIssuer(i.GetAuthority(), i.GetSpread().AsDuration(), func() { done(nil) })
			},
		}
	}
	return o
}

// askOrders returns the next request about orders, nil when there is nothing to
// say. It is called with the lock.
func (r *Relay) askOrders() *discoveryv3.DeltaDiscoveryRequest {
	for i := range r.orders {
		o := &r.orders[i]
		switch {
		case o.url == "":
		case !o.open:
			o.open = true
			return &discoveryv3.DeltaDiscoveryRequest{TypeUrl: o.url, ResourceNamesSubscribe: []string{o.resource}}
		case o.answer != nil:
			req := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: o.url, ResponseNonce: o.answer.nonce}
			if o.answer.words != "" {
				req.ErrorDetail = &rpcstatus.Status{Code: int32(codes.InvalidArgument), Message: clip(o.answer.words, maxWords)}
			}
			o.answer = nil
			return req
		}
	}
	return nil
}

// forgetOrders begins a stream, to which nonces of the one before mean nothing.
// It is called with the lock.
func (r *Relay) forgetOrders() {
	for i := range r.orders {
		o := &r.orders[i]
		o.open, o.nonce, o.answer = false, "", nil
	}
}

// takeOrder takes a response that is an order, and tells whether it was one. It
// is called with the lock.
func (r *Relay) takeOrder(resp *discoveryv3.DeltaDiscoveryResponse) bool {
	for i := range r.orders {
		o := &r.orders[i]
		if o.url == "" || o.url != resp.GetTypeUrl() {
			continue
		}
		o.nonce, o.answer, o.next = resp.GetNonce(), nil, nil
		for _, res := range resp.GetResources() {
			if res.GetName() == o.resource && res.GetResource().GetTypeUrl() == o.url {
				o.next = &told{res.GetResource().GetValue(), resp.GetNonce()}
			}
		}
		if o.next == nil { // there is none any more
			o.answer = &answer{nonce: o.nonce}
		}
		select {
		case r.ordered <- struct{}{}:
		default:
		}
		r.up.poke()
		return true
	}
	return false
}

// followOrders has orders followed, one at a time and the newest of each kind,
// until ctx ends.
func (r *Relay) followOrders(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.ordered:
		}
		for i := range r.orders {
			o := &r.orders[i]
			r.mu.Lock()
			next := o.next
			o.next = nil
			stream := r.up.id
			r.mu.Unlock()
			if next == nil {
				continue
			}
			o.follow(next.body, func(err error) { r.followed(o, stream, next.nonce, err) })
		}
	}
}

// followed answers an order, unless a newer one has come or the stream has
// ended: the next one brings it again.
func (r *Relay) followed(o *order, stream uint64, nonce string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.up.id != stream || o.nonce != nonce {
		return
	}
	o.answer = &answer{nonce: nonce}
	if err != nil {
		o.answer.words = err.Error()
		r.log.Warn("order of the control plane not followed", "order", o.resource, "error", err)
	}
	o.nonce = ""
	r.up.poke()
}
