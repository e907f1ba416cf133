package relay

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
)

// A control plane that is silent is given up after pingAfter of silence and
// pingWait without an answer: 20 s. Pings are most of what an idle control plane
// does, so they are as rare as the control plane's own would be, which they spare.
const (
	pingAfter = 15 * time.Second
	pingWait  = 5 * time.Second
)

// maxResponse bounds, in bytes, one response of the control plane.
const maxResponse = 64 << 20

// Waits between attempts: up to atOnce, then firstWait, doubled up to lastWait.
// A stream that breaks is another control plane's within a second; hosts that
// lost one at the same moment come to the next spread over atOnce, or over
// half of lastWait when none was there for long.
const (
	atOnce    = 400 * time.Millisecond
	firstWait = 100 * time.Millisecond
	lastWait  = 10 * time.Second
)

// connectTime bounds one attempt to connect.
const connectTime = 5 * time.Second

// removalGrace is how long the removal of a cluster waits for the change of
// listeners or routes that goes with it, which comes in a message of its own.
const removalGrace = 50 * time.Millisecond

func dialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingWait}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: connectTime}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxResponse)),
	}
}

// follow keeps a stream to the control plane until ctx ends.
func (r *Relay) follow(ctx context.Context) {
	var tries int
	for {
		useful, err := r.talk(ctx)
		if ctx.Err() != nil {
			return
		}
		if useful {
			tries = 0
		}
		wait := retryAfter(tries)
		tries++
		r.mu.Lock()
		moves := r.moved.After(r.up.since)
		r.up.end(err)
		r.notServed(err)
		r.mu.Unlock()
		if r.cfg.OnLost != nil {
			r.cfg.OnLost(err)
		}
		if moves {
			continue
		}
		if tries <= 2 { // further ones say the same
			r.log.Warn("control plane lost", "error", err, "retry", wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// retryAfter returns how long to wait before another attempt after so many in
// vain: half of it fixed, half by chance, so that hosts do not come in step.
func retryAfter(tries int) time.Duration {
	if tries == 0 {
		return rand.N(atOnce)
	}
	d := min(firstWait<<min(tries-1, 10), lastWait)
	return d/2 + rand.N(d/2)
}

// talk holds one stream until it breaks. It is useful if the control plane
// said anything.
func (r *Relay) talk(ctx context.Context) (useful bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := r.cfg.Dial(ctx, dialOptions()...)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	r.mu.Lock()
	known := r.table.state()
	r.mu.Unlock()
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(withState(ctx, known))
	if err != nil {
		return false, err
	}
	wake := make(chan struct{}, 1)
	r.mu.Lock()
	r.table.connected()
	r.forgetOrders()
	r.up.begin(wake)
	r.redial = cancel
	r.mu.Unlock()

	var answers sync.WaitGroup
	defer answers.Wait()
	defer cancel()
	asking := make(chan struct{})
	go func() {
		r.askAll(ctx, stream, wake)
		close(asking)
	}()
	for {
		resp, err := stream.Recv()
		if err != nil {
			cancel()
			<-asking // the table is the next stream's from here on
			return useful, err
		}
		if !useful {
			useful = true
			r.log.Info("control plane answered")
		}
		if q := r.questionIn(resp); q != nil {
			answers.Go(func() { r.answer(ctx, conn, q) })
			continue
		}
		r.mu.Lock()
		if ctx.Err() == nil { // else it answers what is no longer claimed
			r.take(resp)
		}
		r.mu.Unlock()
	}
}

// askAll sends what there is to ask, whenever there is something, until the
// stream ends; why it ended is Recv's to tell.
func (r *Relay) askAll(ctx context.Context, stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient, wake <-chan struct{}) {
	node := &corev3.Node{Id: r.cfg.ID.String(), UserAgentName: "weft-agent"}
	if r.cfg.OnQuestion != nil {
		node.ClientFeatures = []string{hostv1.QuestionsFeature}
	}
	if r.cfg.Metadata != nil {
		node.Metadata = r.cfg.Metadata()
	}
	for {
		r.mu.Lock()
		req := r.table.ask()
		if req == nil {
			req = r.askOrders()
		}
		r.mu.Unlock()
		if req == nil {
			select {
			case <-ctx.Done():
				return
			case <-wake:
			}
			continue
		}
		req.Node, node = node, nil // once a stream
		if stream.Send(req) != nil {
			return
		}
	}
}

// take takes one response of the control plane. It is called with the lock.
func (r *Relay) take(resp *discoveryv3.DeltaDiscoveryResponse) {
	if r.takeOrder(resp) {
		return
	}
	i := kindOf(resp.GetTypeUrl())
	if i < 0 {
		r.log.Warn("control plane sent what nobody asked for", "type", clip(resp.GetTypeUrl(), 200))
		return
	}
	h := &r.table[i]
	h.update(resp)
	if i == names {
		r.takeNames(h)
	}
	if i == clusters && len(resp.GetRemovedResources()) > 0 && !h.view.keep {
		r.keepClusters()
	}
	h.settle()
	if i == clusters {
		r.takeProbes()
	}
	if i == listeners {
		r.tellNames(time.Now())
	}
	r.up.poke()
	r.down.poke()
	r.changed()
}

// keepClusters withholds removals of clusters for removalGrace.
func (r *Relay) keepClusters() {
	r.table[clusters].view.keep = true
	r.grace = time.AfterFunc(removalGrace, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.table[clusters].view.keep = false
		r.down.poke()
	})
}

func (l *link) begin(wake chan struct{}) {
	l.id++
	l.open, l.wake, l.since = true, wake, time.Now()
}

func (l *link) end(err error) {
	if l.open {
		l.open, l.since = false, time.Now()
	}
	if err != nil {
		l.err = status.Convert(err).Message() // without gRPC's code
	}
}
