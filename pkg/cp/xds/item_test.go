package xds

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"
)

// What is put together by hand reads as what the library would have written.
func TestFramesAreResponses(t *testing.T) {
	s := newStock()
	r := assignment("api", "192.0.2.1")
	it, err := s.encode(resource.EndpointType, r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := anypb.New(r.Message)
	if err != nil {
		t.Fatal(err)
	}
	n := news{version: "7", put: []*item{it}, gone: []string{"db", "old"}}
	for _, c := range []struct {
		delta     bool
		got, want proto.Message
	}{
		{true, &discoveryv3.DeltaDiscoveryResponse{}, &discoveryv3.DeltaDiscoveryResponse{
			SystemVersionInfo: "7", TypeUrl: resource.EndpointType, Nonce: "3", RemovedResources: []string{"db", "old"},
			Resources: []*discoveryv3.Resource{{Name: "api", Version: it.version, Resource: body}},
		}},
		{false, &discoveryv3.DiscoveryResponse{}, &discoveryv3.DiscoveryResponse{
			VersionInfo: "7", TypeUrl: resource.EndpointType, Nonce: "3", Resources: []*anypb.Any{body},
		}},
	} {
		if !c.delta {
			n.gone = nil
		}
		session := &session{st: &stream{delta: c.delta}}
		pieces, err := newCodec().Marshal(session.frame(resource.EndpointType, "3", n))
		if err != nil {
			t.Fatal(err)
		}
		if err := proto.Unmarshal(pieces.Materialize(), c.got); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c.want, c.got, protocmp.Transform()); d != "" {
			t.Errorf("delta %t (-want +got):\n%s", c.delta, d)
		}
	}
}

func TestEqualResourcesAreOneItemAsLongAsSomebodyHasIt(t *testing.T) {
	s := newStock()
	encode := func(typeURL, cluster, at string) *item {
		it, err := s.encode(typeURL, assignment(cluster, at))
		if err != nil {
			t.Fatal(err)
		}
		return it
	}
	a := encode(resource.EndpointType, "api", "192.0.2.1")
	if b := encode(resource.EndpointType, "api", "192.0.2.1"); a != b {
		t.Error("equal resources are two items")
	}
	for i, it := range []*item{
		encode(resource.EndpointType, "api", "192.0.2.2"),
		encode(resource.EndpointType, "db", "192.0.2.1"),
		encode(resource.RouteType, "api", "192.0.2.1"),
	} {
		if it == a || it.version == a.version {
			t.Errorf("another resource (%d) is the same item or has its version", i)
		}
	}
	for i := range 100 {
		encode(resource.EndpointType, "api", fmt.Sprintf("198.51.100.%d", i))
	}
	deadline := time.After(time.Minute)
	for {
		runtime.GC()
		s.items.mu.Lock()
		n := len(s.items.held)
		s.items.mu.Unlock()
		if n == 1 {
			break
		}
		select {
		case <-deadline:
			t.Fatalf("%d items are remembered, one is in use", n)
		default:
			runtime.Gosched()
		}
	}
	if b := encode(resource.EndpointType, "api", "192.0.2.1"); a != b {
		t.Error("an item in use was forgotten")
	}
}
