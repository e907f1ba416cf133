package relay

import (
	"context"
	"strings"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
)

// An order is what the control plane tells the agent itself: whom the mesh
// trusts, and by whom its certificate should be; whom to take for the control
// plane; to look for another one. It is asked for anew on every stream and kept
// nowhere, as whoever follows it keeps what comes of it; its answer says that it
// was followed.
type order struct {
	url, resource string
	follow        func(ctx context.Context, body []byte, done func(error))

	unknown bool // the control plane does not know it: it is an older one

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
	controlPlaneOrder
	lookOrder
	orderCount
)

const orderURL = "type.googleapis.com/weft.host.v1."

// newOrders are those that somebody wants to hear of.
func (r *Relay) newOrders() (o [orderCount]order) {
	c := &r.cfg
	if c.OnTrust != nil {
		o[trustOrder] = order{
			url: orderURL + "Trust", resource: "trust",
			follow: func(_ context.Context, body []byte, done func(error)) {
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
			url: orderURL + "Issuer", resource: "issuer",
			follow: func(_ context.Context, body []byte, done func(error)) {
				var i hostv1.Issuer
				if err := proto.Unmarshal(body, &i); err != nil {
					done(err)
					return
				}
				c.OnIssuer(i.GetAuthority(), i.GetSpread().AsDuration(), func() { done(nil) })
			},
		}
	}
	if c.OnControlPlane != nil {
		o[controlPlaneOrder] = order{
			url: orderURL + "ControlPlane", resource: "control-plane",
			follow: func(_ context.Context, body []byte, done func(error)) {
				var p hostv1.ControlPlane
				err := proto.Unmarshal(body, &p)
				if err == nil && c.OnControlPlanes != nil {
					c.OnControlPlanes(p.GetAddresses())
				}
				if err == nil {
					err = c.OnControlPlane(p.GetAuthorities(), p.GetIssuer(), p.GetSpread().AsDuration(), func() { done(nil) })
				}
				if err != nil {
					done(err)
				}
			},
		}
	}
	if c.OnLook != nil {
		o[lookOrder] = order{url: orderURL + "Look", resource: c.ID.String(), follow: r.look}
	}
	return o
}

// look looks for another control plane, and goes there. Who has found none stays.
func (r *Relay) look(ctx context.Context, body []byte, done func(error)) {
	var l hostv1.Look
	if err := proto.Unmarshal(body, &l); err != nil {
		done(err)
		return
	}
	r.mu.Lock()
	stream, again, stay := r.up.id, r.looking, stayAfter-time.Since(r.moved)
	r.looking = true
	r.mu.Unlock()
	if again {
		done(nil)
		return
	}
	go func() {
		select {
		case <-time.After(stay): // at once, mostly
		case <-ctx.Done():
		}
		found := r.cfg.OnLook(ctx, l.GetSpread().AsDuration())
		r.mu.Lock()
		r.looking = false
		if found && r.up.id == stream && r.up.open && r.redial != nil {
			r.moved = time.Now()
			r.log.Info("control plane does not reach its store and another one does: going there", "since", l.GetSince().AsTime())
			r.redial()
		}
		r.mu.Unlock()
		done(nil)
	}()
}

// stayAfter is how long an agent that went to another control plane stays there
// whatever that says.
const stayAfter = time.Second

// askOrders returns the next request about orders, nil when there is nothing to
// say. It is called with the lock.
func (r *Relay) askOrders() *discoveryv3.DeltaDiscoveryRequest {
	for i := range r.orders {
		o := &r.orders[i]
		switch {
		case o.url == "" || o.unknown:
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

// notServed notes which order ended a stream, as an older control plane does with
// what it does not know. The next stream does not ask for it. It is called with
// the lock.
func (r *Relay) notServed(err error) {
	said := status.Convert(err)
	refused := said.Code() == codes.InvalidArgument
	for i := range r.orders {
		o := &r.orders[i]
		switch {
		case refused && o.url != "" && strings.Contains(said.Message(), o.url):
			o.unknown = true
			r.log.Info("control plane is of an older version: it is not asked for everything", "order", o.resource)
		case !refused:
			o.unknown = false
		}
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
			o.follow(ctx, next.body, func(err error) { r.followed(o, stream, next.nonce, err) })
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
