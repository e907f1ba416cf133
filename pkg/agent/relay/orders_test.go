package relay

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
)

func orderResponse(t *testing.T, name, nonce string, body proto.Message) *discoveryv3.DeltaDiscoveryResponse {
	t.Helper()
	resp := &discoveryv3.DeltaDiscoveryResponse{Nonce: nonce}
	resp.TypeUrl = "type.googleapis.com/weft.host.v1." + map[string]string{"trust": "Trust", "issuer": "Issuer", "control-plane": "ControlPlane"}[name]
	if body == nil {
		resp.RemovedResources = []string{name}
		return resp
	}
	packed, err := anypb.New(body)
	if err != nil {
		t.Fatal(err)
	}
	resp.Resources = []*discoveryv3.Resource{{Name: name, Version: "1", Resource: packed}}
	return resp
}

// TestOrders walks what the control plane says and what the relay answers,
// without any stream.
func TestOrders(t *testing.T) {
	var roots []string
	var issuers []string
	var done []func()
	fault := error(nil)
	r := New(Config{
		OnTrust: func(b []byte) error { roots = append(roots, string(b)); return fault },
		OnIssuer: func(a string, spread time.Duration, d func()) {
			issuers = append(issuers, fmt.Sprint(a, " ", spread))
			done = append(done, d)
		},
	})
	follow := func() {
		for i := range r.orders {
			o := &r.orders[i]
			if next := o.next; next != nil {
				o.next = nil
				o.follow(t.Context(), next.body, func(err error) { r.followed(o, r.up.id, next.nonce, err) })
			}
		}
	}
	asked := func(want ...string) {
		t.Helper()
		var got []string
		for req := r.askOrders(); req != nil; req = r.askOrders() {
			got = append(got, fmt.Sprint(req.GetTypeUrl()[strings.LastIndex(req.GetTypeUrl(), ".")+1:], req.GetResourceNamesSubscribe(), req.GetResponseNonce(), req.GetErrorDetail().GetMessage()))
		}
		if strings.Join(got, "; ") != strings.Join(want, "; ") {
			t.Errorf("asked %q, want %q", got, want)
		}
	}
	take := func(resp *discoveryv3.DeltaDiscoveryResponse) {
		t.Helper()
		if !r.takeOrder(resp) {
			t.Errorf("%s is taken for no order", resp.GetTypeUrl())
		}
	}
	r.up.begin(make(chan struct{}, 1))
	asked("Trust[trust]", "Issuer[issuer]")
	take(orderResponse(t, "trust", "1", &hostv1.Trust{Roots: []byte("a")}))
	take(orderResponse(t, "issuer", "2", &hostv1.Issuer{Authority: "x", Spread: durationpb.New(time.Minute)}))
	asked()
	follow()
	asked("Trust[]1") // the certificate is not there yet
	done[0]()
	asked("Issuer[]2")
	done[0]()
	asked()

	take(orderResponse(t, "trust", "3", &hostv1.Trust{Roots: []byte("b")}))
	take(orderResponse(t, "trust", "4", &hostv1.Trust{Roots: []byte("c")}))
	follow()
	asked("Trust[]4")
	fault = errors.New("no disk")
	take(orderResponse(t, "trust", "5", &hostv1.Trust{Roots: []byte("d")}))
	follow()
	asked("Trust[]5no disk")
	take(orderResponse(t, "issuer", "6", nil))
	follow()
	asked("Issuer[]6")

	take(orderResponse(t, "issuer", "7", &hostv1.Issuer{Authority: "y"}))
	follow()
	r.up.begin(make(chan struct{}, 1)) // another stream
	r.forgetOrders()
	done[1]()
	asked("Trust[trust]", "Issuer[issuer]")
	if got := strings.Join(append(roots, issuers...), ", "); got != "a, c, d, x 1m0s, y 0s" {
		t.Errorf("followed %s", got)
	}
	// An older control plane ends the stream of who asks for what it does not know.
	r.notServed(status.Error(codes.InvalidArgument, `type URL "`+r.orders[issuerOrder].url+`" is not served here`))
	r.forgetOrders()
	asked("Trust[trust]")
	r.notServed(status.Error(codes.Unavailable, "it stops"))
	r.forgetOrders()
	asked("Trust[trust]", "Issuer[issuer]")
	if r.takeOrder(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: clusterType}) || New(Config{}).takeOrder(orderResponse(t, "trust", "1", nil)) {
		t.Error("what is no order, or what nobody wants to hear, was taken for one")
	}
	if req := New(Config{}).askOrders(); req != nil {
		t.Errorf("asked for orders that nobody wants to hear: %v", req)
	}
}

// TestFurtherControlPlanes has whom to take for the control plane come with where
// control planes are, from a newer one, and without.
func TestFurtherControlPlanes(t *testing.T) {
	var told []string
	r := New(Config{
		OnControlPlane: func(_ []byte, issuer string, _ time.Duration, done func()) error {
			told = append(told, issuer)
			done()
			return nil
		},
		OnControlPlanes: func(at []string) { told = append(told, at...) },
	})
	r.up.begin(make(chan struct{}, 1))
	for i, body := range []*hostv1.ControlPlane{{Issuer: "x"}, {Issuer: "x", Addresses: []string{"a:1", "b:1"}}} {
		if !r.takeOrder(orderResponse(t, "control-plane", fmt.Sprint(i), body)) {
			t.Fatal("it is taken for no order")
		}
		o := &r.orders[controlPlaneOrder]
		o.follow(t.Context(), o.next.body, func(err error) { r.followed(o, r.up.id, o.next.nonce, err) })
		if o.answer == nil || o.answer.words != "" {
			t.Errorf("the answer is %+v", o.answer)
		}
	}
	if got := strings.Join(told, " "); got != "x a:1 b:1 x" {
		t.Errorf("told %q", got)
	}
}
