package xds

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weft-mesh/weft/pkg/envoy/render"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// tokens lets in whoever shows its own id as token.
type tokens struct {
	mu    sync.Mutex
	wrong map[proxy.ID]error // instead of letting in
}

func (a *tokens) ProxyAgain(ctx context.Context, claimed proxy.ID) error {
	return a.Proxy(ctx, claimed)
}

func (a *tokens) Proxy(ctx context.Context, claimed proxy.ID) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.wrong[claimed]; err != nil {
		return err
	}
	md, _ := metadata.FromIncomingContext(ctx)
	if got := md.Get("authorization"); len(got) == 1 && got[0] == claimed.String() {
		return nil
	}
	return errors.New("the token is not for this dataplane")
}

func (a *tokens) refuse(id proxy.ID, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.wrong == nil {
		a.wrong = map[proxy.ID]error{}
	}
	a.wrong[id] = err
}

// A world is a Server on a loopback port, and what each proxy is to have.
type world struct {
	*Server
	conn   *grpc.ClientConn
	log    *syncBuffer
	tokens tokens

	mu      sync.Mutex
	bundles map[proxy.ID]*render.Bundle
	connect func(id proxy.ID) error // instead of publishing
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldThatJudges(t, 0)
}

func newWorldThatJudges(t *testing.T, every time.Duration) *world {
	t.Helper()
	w := &world{bundles: map[proxy.ID]*render.Bundle{}, log: &syncBuffer{}}
	w.Server = New(Config{Auth: &w.tokens, Connect: w.prepare, JudgeEvery: every, Log: slog.New(slog.NewTextHandler(w.log, nil))})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(ServerOptions()...)
	w.Register(g)
	served := make(chan error, 1)
	go func() { served <- g.Serve(l) }()
	t.Cleanup(func() {
		g.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	w.conn = dial(t, l.Addr().String())
	return w
}

func dial(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (w *world) prepare(_ context.Context, id proxy.ID) error {
	w.mu.Lock()
	b, connect := w.bundles[id], w.connect
	w.mu.Unlock()
	if connect != nil {
		return connect(id)
	}
	if b == nil {
		return ErrUnknown
	}
	return w.publish(id, b)
}

// give publishes a bundle to a proxy, now and whenever it comes.
func (w *world) publish(id proxy.ID, b *render.Bundle) error {
	encoded, err := w.Encode(parts(b), b.Secrets)
	if err == nil {
		w.Publish(id, encoded)
	}
	return err
}

func (w *world) give(t *testing.T, id proxy.ID, b *render.Bundle) {
	t.Helper()
	w.mu.Lock()
	w.bundles[id] = b
	w.mu.Unlock()
	if err := w.publish(id, b); err != nil {
		t.Fatal(err)
	}
}

func (w *world) endpoints(t *testing.T, mesh string, changed []render.Resource, gone ...string) {
	t.Helper()
	if err := w.PublishEndpoints(mesh, changed, gone, nil); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until ok; what is not told by a channel of the part under
// test is looked at again whenever the scheduler comes back to it.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("never: %s", what)
		}
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

var (
	web   = proxy.ID{Mesh: "default", Name: "web"}
	other = proxy.ID{Mesh: "default", Name: "other.one"} // names may have dots
)

// parts is a plan of one part.
func parts(b *render.Bundle) []render.Part {
	return []render.Part{{Render: func() (*render.Bundle, error) { return b, nil }}}
}

// bundleOf has a listener with a route for each service, and a cluster that
// waits timeout to connect.
func bundleOf(timeout time.Duration, services ...string) *render.Bundle {
	b := &render.Bundle{}
	for _, s := range services {
		b.Clusters = append(b.Clusters, render.Resource{Name: s, Message: &clusterv3.Cluster{
			Name:                 s,
			ConnectTimeout:       durationpb.New(timeout),
			ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
			EdsClusterConfig: &clusterv3.Cluster_EdsClusterConfig{EdsConfig: &corev3.ConfigSource{
				ResourceApiVersion:    corev3.ApiVersion_V3,
				ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
			}},
		}})
		hcm, _ := anypb.New(&hcmv3.HttpConnectionManager{
			RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{RouteConfigName: "to-" + s}},
		})
		b.Listeners = append(b.Listeners, render.Resource{Name: "out-" + s, Message: &listenerv3.Listener{
			Name: "out-" + s,
			FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
				Name: "http", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: hcm},
			}}}},
		}})
		b.Routes = append(b.Routes, render.Resource{Name: "to-" + s, Message: &routev3.RouteConfiguration{Name: "to-" + s}})
	}
	return b
}

func assignment(cluster string, addresses ...string) render.Resource {
	var eps []*endpointv3.LbEndpoint
	for _, a := range addresses {
		eps = append(eps, &endpointv3.LbEndpoint{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
			Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
				Address: a, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 80},
			}}},
		}}})
	}
	return render.Resource{Name: cluster, Message: &endpointv3.ClusterLoadAssignment{
		ClusterName: cluster, Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: eps}},
	}}
}
