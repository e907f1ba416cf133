// Package fakeenvoy plays Envoy at the far end of an ADS stream, for tests.
//
// A Client asks for what Envoy asks for, in Envoy's order: clusters, the
// endpoints of those that have them elsewhere, listeners, the routes that
// these name. It takes or refuses what comes, keeps what it took, and prints
// it. As with Envoy, a cluster whose definition is new or changed is warming
// until endpoints arrive for it, clusters are acknowledged when none is warming
// any more, and the node stands in the first request only.
package fakeenvoy

import (
	"context"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Type URLs, in Envoy's order, and the agent's names.
const (
	Clusters  = resource.ClusterType
	Endpoints = resource.EndpointType
	Listeners = resource.ListenerType
	Routes    = resource.RouteType
	Names     = "type.googleapis.com/weft.host.v1.NameTable"
)

// Options say how a Client behaves. The zero value with a Node is a proper
// Envoy that speaks delta.
type Options struct {
	Node  string // <mesh>.<name>
	Token string // "authorization" metadata; "" sends none
	World bool   // state of the world instead of delta
	Names bool   // asks for the name table too, as the agent does
	// Bare asks for nothing by itself; see Ask.
	Bare bool
	// Silent reads responses and answers none.
	Silent bool
	// Refuse returns why a resource is refused, or "". The others of its
	// response are taken.
	Refuse func(typeURL, name string) string
	// Held is what the client has from a stream before, see Client.Held. Only
	// delta can tell a server.
	Held map[string]map[string]string
}

// A Client is one stream.
type Client struct {
	opt    Options
	cancel context.CancelFunc
	world  grpc.BidiStreamingClient[discoveryv3.DiscoveryRequest, discoveryv3.DiscoveryResponse]
	delta  grpc.BidiStreamingClient[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse]
	done   chan struct{}

	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever state changes
	state   State
	asked   map[string]map[string]bool // by type: names followed; none means all
	nonces  map[string]string
	version map[string]string
	greeted bool   // the node was sent
	held    func() // acknowledges clusters, when none is warming
	err     error
}

// Open opens a stream over conn and, unless it is bare, begins as Envoy does.
// The stream ends with the test at the latest.
func Open(tb testing.TB, conn grpc.ClientConnInterface, opt Options) *Client {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	if opt.Token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", opt.Token)
	}
	c := &Client{
		opt: opt, cancel: cancel, done: make(chan struct{}), changed: make(chan struct{}),
		state: newState(), asked: map[string]map[string]bool{}, nonces: map[string]string{}, version: map[string]string{},
	}
	ads := discoveryv3.NewAggregatedDiscoveryServiceClient(conn)
	var err error
	if opt.World {
		c.world, err = ads.StreamAggregatedResources(ctx)
	} else {
		c.delta, err = ads.DeltaAggregatedResources(ctx)
	}
	if err != nil {
		cancel()
		tb.Fatalf("open a stream: %v", err)
	}
	go c.read()
	tb.Cleanup(c.Close)
	if !opt.Bare {
		c.Ask(Clusters)
		if opt.Names {
			c.Ask(Names, "names")
		}
	}
	return c
}

// Close ends the stream and waits for that.
func (c *Client) Close() {
	c.cancel()
	<-c.done
}

// Ask follows more names of a type; none at the first time means all there are.
func (c *Client) Ask(typeURL string, names ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ask(typeURL, names)
}

func (c *Client) ask(typeURL string, names []string) {
	set, again := c.asked[typeURL]
	if !again {
		set = map[string]bool{}
		c.asked[typeURL] = set
	}
	var more []string
	for _, n := range names {
		if !set[n] {
			set[n] = true
			more = append(more, n)
		}
	}
	if again && len(more) == 0 {
		return
	}
	if c.opt.World {
		c.request(typeURL, "")
		return
	}
	req := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURL, ResourceNamesSubscribe: more, Node: c.node()}
	if !again {
		req.InitialResourceVersions = c.opt.Held[typeURL]
	}
	_ = c.delta.Send(req) // how a stream ended is told by read
}

// request sends a request of the state of the world; refused is why the last
// response was, or "".
func (c *Client) request(typeURL, refused string) {
	req := &discoveryv3.DiscoveryRequest{
		TypeUrl: typeURL, ResourceNames: sorted(c.asked[typeURL]), Node: c.node(),
		ResponseNonce: c.nonces[typeURL], VersionInfo: c.version[typeURL],
	}
	if refused != "" {
		req.ErrorDetail = status.New(codes.InvalidArgument, refused).Proto()
	}
	_ = c.world.Send(req)
}

func (c *Client) node() *corev3.Node {
	if c.greeted {
		return nil
	}
	c.greeted = true
	return &corev3.Node{Id: c.opt.Node}
}

// SendRaw sends a delta request as it is, for tests of bad behaviour.
func (c *Client) SendRaw(req *discoveryv3.DeltaDiscoveryRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.delta.Send(req)
}

// answer takes or refuses a response.
func (c *Client) answer(typeURL, nonce, version, refused string) {
	c.nonces[typeURL] = nonce
	if refused == "" {
		c.version[typeURL] = version
	}
	if c.opt.Silent {
		return
	}
	if c.opt.World {
		c.request(typeURL, refused)
		return
	}
	req := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURL, ResponseNonce: nonce}
	if refused != "" {
		req.ErrorDetail = status.New(codes.InvalidArgument, refused).Proto()
	}
	_ = c.delta.Send(req)
}

// Held returns the versions that the client has, to reconnect with.
func (c *Client) Held() map[string]map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.clone().versions
}

// State returns what the client has now.
func (c *Client) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.clone()
}

// String prints what the client has now.
func (c *Client) String() string { return c.State().String() }

// patience bounds every wait of a test.
const patience = time.Minute

// Wait waits until ok, and fails the test where that does not happen.
func (c *Client) Wait(tb testing.TB, what string, ok func(State) bool) State {
	tb.Helper()
	limit := time.After(patience)
	for {
		c.mu.Lock()
		s, changed, err := c.state.clone(), c.changed, c.err
		c.mu.Unlock()
		if ok(s) {
			return s
		}
		if err != nil {
			tb.Fatalf("stream of %s ended while waiting for %s: %v; it has\n%s", c.opt.Node, what, err, s)
		}
		select {
		case <-changed:
		case <-limit:
			tb.Fatalf("%s did not get %s; it has\n%s", c.opt.Node, what, s)
		}
	}
}

// WaitEnd waits for the end of the stream and returns its error.
func (c *Client) WaitEnd(tb testing.TB) error {
	tb.Helper()
	select {
	case <-c.done:
	case <-time.After(patience):
		tb.Fatalf("stream of %s goes on; it has\n%s", c.opt.Node, c)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
