package xds

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/internal/fakeenvoy"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// A reader is the far end of a fuzzed stream: it takes whatever is sent.
type reader struct {
	grpc.ServerStream
	ctx context.Context
}

func (r reader) Context() context.Context { return r.ctx }
func (r reader) SendMsg(any) error        { return nil }

// everybody is whom he says he is.
type everybody struct{}

func (everybody) Proxy(context.Context, proxy.ID) error      { return nil }
func (everybody) ProxyAgain(context.Context, proxy.ID) error { return nil }

// FuzzStream plays what a proxy sends, message by message. Whatever that is,
// the stream ends with a status that blames the proxy, and leaves nothing.
func FuzzStream(f *testing.F) {
	node := &corev3.Node{Id: "default.web"}
	refusal := &statuspb.Status{Code: int32(codes.InvalidArgument), Message: "no"}
	f.Add(true, fakeenvoy.Script(
		&discoveryv3.DeltaDiscoveryRequest{Node: node, TypeUrl: resource.ClusterType},
		&discoveryv3.DeltaDiscoveryRequest{TypeUrl: resource.EndpointType, ResourceNamesSubscribe: []string{"api", "*"}},
		&discoveryv3.DeltaDiscoveryRequest{TypeUrl: resource.ClusterType, ResponseNonce: "1"},
		&discoveryv3.DeltaDiscoveryRequest{TypeUrl: resource.ListenerType, InitialResourceVersions: map[string]string{"a": "b"}},
		&discoveryv3.DeltaDiscoveryRequest{TypeUrl: resource.EndpointType, ResponseNonce: "2", ErrorDetail: refusal},
		&discoveryv3.DeltaDiscoveryRequest{TypeUrl: resource.EndpointType, ResourceNamesUnsubscribe: []string{"api", "*", "never"}},
	))
	f.Add(false, fakeenvoy.Script(
		&discoveryv3.DiscoveryRequest{Node: node, TypeUrl: resource.ClusterType},
		&discoveryv3.DiscoveryRequest{TypeUrl: resource.ClusterType, ResponseNonce: "1", VersionInfo: "x"},
		&discoveryv3.DiscoveryRequest{TypeUrl: resource.EndpointType, ResourceNames: []string{"api"}},
		&discoveryv3.DiscoveryRequest{TypeUrl: resource.EndpointType, ResponseNonce: "2", ErrorDetail: refusal},
		&discoveryv3.DiscoveryRequest{TypeUrl: resource.EndpointType},
	))
	f.Add(true, fakeenvoy.Script(&discoveryv3.DeltaDiscoveryRequest{Node: &corev3.Node{Id: "no dot"}, TypeUrl: "what?"}))
	f.Fuzz(func(t *testing.T, isDelta bool, sent []byte) {
		s := New(Config{Auth: everybody{}, Log: slog.New(slog.DiscardHandler)})
		s.connect = func(_ context.Context, id proxy.ID) error {
			b, err := s.Encode(parts(bundleOf(time.Second, "api", "db")), nil)
			if err == nil {
				s.Publish(id, b)
			}
			return err
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		rest := bytes.NewReader(sent)
		err := s.run(ctx, isDelta, func(st *stream) error {
			return st.serve(reader{ctx: ctx}, func() (*corev3.Node, request, error) {
				if isDelta {
					var r discoveryv3.DeltaDiscoveryRequest
					err := fakeenvoy.NextOf(rest, &r)
					return r.GetNode(), fromDelta(&r), err
				}
				var r discoveryv3.DiscoveryRequest
				err := fakeenvoy.NextOf(rest, &r)
				return r.GetNode(), fromWorld(&r), err
			})
		})
		switch code := status.Code(err); code {
		case codes.OK, codes.InvalidArgument, codes.PermissionDenied, codes.ResourceExhausted:
		default:
			t.Errorf("the stream ended with %s: %v", code, err)
		}
		if left := s.Connected(); len(left) > 0 {
			t.Errorf("still connected: %v", left)
		}
		for name, m := range s.meshes {
			if len(m.wanted) > 0 {
				t.Errorf("mesh %s: still wanted: %v", name, m.wanted)
			}
		}
	})
}
