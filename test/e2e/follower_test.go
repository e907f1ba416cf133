//go:build linux

package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/internal/fakeenvoy"
	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/internal/testtime"
)

// reconnect is how long a proxy may be without a replica that serves it, once its
// stream has ended.
const reconnect = 2 * time.Second

// A follower is a proxy that follows the endpoints of service counter, from
// whichever replica serves it, and turns to the next when its stream ends.
type follower struct {
	from *testnet.Host
	to   []*testnet.Host
	id   string
	at   int // the replica that is asked, modulo their number

	mu      sync.Mutex
	value   int
	state   string // that it has, as an agent tells it
	address string // of the stream
	streams int
	values  int
	back    int
	backs   []string
	watch   *testtime.Watch // nil: nobody asks how long it was without a replica
	lost    time.Duration   // when the last stream ended, by the watch
	longest time.Duration
}

func (f *follower) has() (value int, at string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.value, f.address
}

func (f *follower) run(quit <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-quit
		cancel()
	}()
	for ctx.Err() == nil {
		to := f.to[f.at%len(f.to)].IP4.String()
		_ = f.follow(ctx, to)
		f.mu.Lock()
		if f.address != "" {
			f.address = ""
			if f.watch != nil {
				f.lost = f.watch.Took()
			}
		}
		f.mu.Unlock()
		f.at++
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// follow holds one stream. Its connection is given up as an agent gives it up.
func (f *follower) follow(ctx context.Context, to string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := grpc.NewClient("passthrough:///"+net.JoinHostPort(to, "5678"),
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{InsecureSkipVerify: true})), //nolint:gosec // who answers is not the question here
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.WithContextDialer(func(_ context.Context, a string) (net.Conn, error) { return f.from.TryDial("tcp", a) }))
	if err != nil {
		return err
	}
	defer conn.Close()
	if f.state != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "weft-state", f.state)
	}
	// A replica that does not answer is left as soon as an agent would.
	late := time.AfterFunc(reconnect, cancel)
	defer late.Stop()
	s, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return err
	}
	err = s.Send(&discoveryv3.DeltaDiscoveryRequest{
		Node: &corev3.Node{Id: f.id}, TypeUrl: fakeenvoy.Endpoints, ResourceNamesSubscribe: []string{"counter"},
	})
	for err == nil {
		var resp *discoveryv3.DeltaDiscoveryResponse
		if resp, err = s.Recv(); err != nil {
			break
		}
		late.Stop()
		f.take(resp, to)
		err = s.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: resp.TypeUrl, ResponseNonce: resp.Nonce})
	}
	return err
}

func (f *follower) take(resp *discoveryv3.DeltaDiscoveryResponse, from string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.address == "" {
		f.streams++
		if f.lost > 0 {
			f.longest = max(f.longest, f.watch.Took()-f.lost)
		}
	}
	f.address = from
	id := resp.GetControlPlane().GetIdentifier()
	f.state = id[strings.LastIndexByte(id, '@')+1:]
	for _, r := range resp.GetResources() {
		var a endpointv3.ClusterLoadAssignment
		if err := proto.Unmarshal(r.GetResource().GetValue(), &a); err != nil {
			f.backs = append(f.backs, err.Error())
			f.back++
			return
		}
		for _, e := range a.GetEndpoints() {
			for _, l := range e.GetLbEndpoints() {
				now := int(l.GetEndpoint().GetAddress().GetSocketAddress().GetPortValue())
				if now < f.value {
					f.back++
					f.backs = append(f.backs, fmt.Sprintf("%d after %d from %s", now, f.value, from))
				}
				f.value = now
				f.values++
			}
		}
	}
}
