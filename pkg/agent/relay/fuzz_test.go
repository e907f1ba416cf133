package relay

import (
	"bytes"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/weft-mesh/weft/internal/fakeenvoy"
)

// FuzzResponses plays what a control plane sends, message by message, to a relay
// with an Envoy that takes everything. Whatever that is, the relay goes on: it
// answers each response of a kind that it follows, and has what comes afterwards.
func FuzzResponses(f *testing.F) {
	resource := func(url, name, version string) *discoveryv3.Resource {
		return &discoveryv3.Resource{Name: name, Version: version, Resource: &anypb.Any{TypeUrl: url, Value: []byte{0xff, 1}}}
	}
	f.Add(fakeenvoy.Script(
		&discoveryv3.DeltaDiscoveryResponse{TypeUrl: clusterType, Nonce: "1", Resources: []*discoveryv3.Resource{resource(clusterType, "api", "1"), resource(listenerType, "api", ""), {Name: "bare"}, {}}},
		&discoveryv3.DeltaDiscoveryResponse{TypeUrl: endpointType, Nonce: "1", Resources: []*discoveryv3.Resource{resource("", "never asked for", "")}, RemovedResources: []string{"", "api", "*"}},
		&discoveryv3.DeltaDiscoveryResponse{TypeUrl: clusterType, RemovedResources: []string{"api", "api"}},
	))
	f.Add(fakeenvoy.Script(
		&discoveryv3.DeltaDiscoveryResponse{TypeUrl: listenerType, Nonce: "1", Resources: []*discoveryv3.Resource{resource(listenerType, "outbound:240.0.0.1:99999", "1"), resource(listenerType, "outbound:", "1")}},
		&discoveryv3.DeltaDiscoveryResponse{TypeUrl: namesType, Nonce: "1", Resources: []*discoveryv3.Resource{resource(namesType, namesResource, "1")}},
		&discoveryv3.DeltaDiscoveryResponse{TypeUrl: namesType, Nonce: "2", RemovedResources: []string{namesResource}},
	))
	f.Add(fakeenvoy.Script(
		&discoveryv3.DeltaDiscoveryResponse{TypeUrl: "what?"},
		&discoveryv3.DeltaDiscoveryResponse{TypeUrl: orderURL + "Trust", Resources: []*discoveryv3.Resource{resource(orderURL+"Trust", "trust", "")}},
		&discoveryv3.DeltaDiscoveryResponse{TypeUrl: orderURL + "Look"},
		&discoveryv3.DeltaDiscoveryResponse{TypeUrl: secretType, Nonce: "1", Resources: []*discoveryv3.Resource{resource(secretType, "identity_cert", "1")}},
	))
	f.Fuzz(func(t *testing.T, sent []byte) {
		r := New(Config{ID: testID, OnTrust: func([]byte) error { return nil }})
		r.mu.Lock()
		defer r.mu.Unlock()
		r.table.connected()
		r.table.attached()
		settle := func() {
			for n := 0; ; n++ {
				req := r.table.ask()
				if req == nil {
					req = r.askOrders()
				}
				resp := r.table.offer("n")
				if req == nil && resp == nil {
					return
				}
				if resp != nil {
					if _, err := r.table.hear(kindOf(resp.GetTypeUrl()), &discoveryv3.DeltaDiscoveryRequest{TypeUrl: resp.GetTypeUrl(), ResponseNonce: resp.GetNonce()}, time.Unix(0, 0)); err != nil {
						t.Fatalf("Envoy's answer: %v", err)
					}
				}
				if n > 10_000 {
					t.Fatal("there is no end to what is said")
				}
			}
		}
		for _, i := range []int{clusters, listeners} { // Envoy asks for these
			if _, err := r.table.hear(i, &discoveryv3.DeltaDiscoveryRequest{TypeUrl: kinds[i].url}, time.Unix(0, 0)); err != nil {
				t.Fatal(err)
			}
		}
		settle()
		for rest := bytes.NewReader(sent); ; {
			var resp discoveryv3.DeltaDiscoveryResponse
			if fakeenvoy.NextOf(rest, &resp) != nil {
				break
			}
			r.take(&resp)
			settle()
		}
		if r.grace != nil {
			r.grace.Stop()
		}
		if r.outside.timer != nil {
			r.outside.timer.Stop()
		}
		r.take(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: clusterType, Nonce: "last", Resources: []*discoveryv3.Resource{resource(clusterType, "last", "last")}})
		settle()
		if got := r.table[clusters].accepted["last"].GetVersion(); got != "last" {
			t.Errorf("what comes afterwards is not in force: version %q", got)
		}
	})
}
