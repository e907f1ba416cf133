package xds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime/debug"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// ads is what gRPC sees of a Server: two methods.
type ads struct{ s *Server }

// A stream is one proxy's connection. It ends when ctx does, and is served
// from nothing but its own entry.
type stream struct {
	s     *Server
	id    proxy.ID // what was authenticated
	delta bool
	since time.Time
	ctx   context.Context
	end   context.CancelCauseFunc // with a gRPC status
	agent string                  // version, from the first request
	envoy string                  // version, from the first request
	acks  tracker
	asked questions
	entry *entry
	open  func() bool // stops the wait for the first request
	look  *time.Timer // when the credential is looked at again
}

func (a ads) StreamAggregatedResources(g discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	return a.s.run(g.Context(), false, func(st *stream) error {
		return st.serve(g, func() (*corev3.Node, request, error) {
			r, err := g.Recv()
			return r.GetNode(), fromWorld(r), err
		})
	})
}

func (a ads) DeltaAggregatedResources(g discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	return a.s.run(g.Context(), true, func(st *stream) error {
		return st.serve(g, func() (*corev3.Node, request, error) {
			r, err := g.Recv()
			return r.GetNode(), fromDelta(r), err
		})
	})
}

// run holds one stream until it ends or is ended. The work is done beside it:
// so a stream whose reader has stopped reading can be ended, and a panic costs
// that stream only.
func (s *Server) run(ctx context.Context, isDelta bool, work func(*stream) error) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	st := &stream{s: s, delta: isDelta, since: time.Now().UTC(), ctx: ctx, end: end}
	waiting := time.AfterFunc(firstRequest, func() {
		end(status.Errorf(codes.DeadlineExceeded, "no request within %s of opening the stream", firstRequest))
	})
	defer waiting.Stop()
	st.open = waiting.Stop

	done := make(chan error, 1)
	go func() {
		var err error
		defer func() { done <- err }()
		defer st.contain(&err)
		err = work(st)
	}()
	select {
	case err := <-done:
		if cause := context.Cause(ctx); cause != nil {
			return statusOf(cause, codes.Canceled)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		return statusOf(err, codes.Unavailable)
	case <-ctx.Done():
		return statusOf(context.Cause(ctx), codes.Canceled)
	}
}

// contain turns a panic into an error of this stream.
func (st *stream) contain(err *error) {
	if r := recover(); r != nil {
		st.s.metrics.panics.Inc()
		st.s.log.Error("stream panicked", "proxy", st.id, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		*err = status.Error(codes.Internal, "the control plane failed on this stream; its log has the details")
		st.end(*err)
	}
}

// serve authenticates a stream by its first request and serves it.
func (st *stream) serve(out grpc.ServerStream, receive func() (*corev3.Node, request, error)) error {
	node, first, err := receive()
	if err != nil {
		return err
	}
	id, err := ParseNode(node.GetId())
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	st.open()
	if err := st.s.auth.Proxy(st.ctx, id); err != nil {
		st.s.log.Warn("proxy was refused", "proxy", id, "error", err)
		return statusOf(err, unauthenticated)
	}
	st.id = id
	st.agent, st.envoy = versions(node)
	st.asked.heard = st.delta && hears(node)
	if err := st.admit(node, first.typeURL); err != nil {
		return err
	}
	st.look = time.AfterFunc(math.MaxInt64, st.lookAgain)
	defer st.look.Stop()
	if err := st.s.join(st); err != nil {
		return err
	}
	defer st.s.leave(st)
	st.look.Reset(st.s.judgeEvery)
	if err := st.s.pace.wait(st.ctx, id); err != nil {
		return err
	}
	if err := st.s.connect(st.ctx, id); err != nil {
		st.s.log.Warn("proxy could not be served", "proxy", id, "error", err)
		return statusOf(err, unprepared)
	}
	// What was taken back since the first look may have found no stream to end.
	if st.judge(); st.ctx.Err() != nil {
		return context.Cause(st.ctx)
	}
	st.s.log.Info("proxy connected", "proxy", id, "delta", st.delta)
	if tell := st.s.came; tell != nil {
		tell(id, st.status())
	}
	if tell := st.s.left; tell != nil {
		defer func() { tell(id, st.status()) }()
	}
	err = newSession(st, out).run(first, func() (request, error) {
		node, r, err := receive()
		if err == nil {
			err = st.admit(node, r.typeURL)
		}
		return r, err
	})
	st.s.log.Info("proxy left", "proxy", id, "after", time.Since(st.since).Round(time.Millisecond), "error", firstOf(context.Cause(st.ctx), err))
	return err
}

func firstOf(errs ...error) any {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return ""
}

// ParseNode reads a node id, <mesh>.<name>. The name of a mesh has no dot, the
// name of a dataplane may: the first dot divides.
func ParseNode(node string) (proxy.ID, error) {
	mesh, name, ok := strings.Cut(node, ".")
	if !ok || mesh == "" || name == "" || len(node) > 512 {
		return proxy.ID{}, fmt.Errorf("node id %.64q must be <mesh>.<name of the dataplane>, and stand in the first request of the stream", node)
	}
	return proxy.ID{Mesh: mesh, Name: name}, nil
}

// admit judges a request before the protocol sees it. The node may be left out
// after the first one, but not change.
func (st *stream) admit(node *corev3.Node, typeURL string) error {
	if id := node.GetId(); node != nil && id != st.id.String() {
		return status.Errorf(codes.PermissionDenied, "node id changed from %q to %.64q in the stream; open another one", st.id, id)
	}
	if _, ok := words[typeURL]; !ok {
		return status.Errorf(codes.InvalidArgument, "type URL %.128q is not served here; clusters, endpoints, listeners, routes, secrets and the mesh's names are", typeURL)
	}
	return nil
}

// send writes one response, and gives up on a reader that has stopped reading.
func (st *stream) send(write func() error) error {
	slow := time.AfterFunc(sendTimeout, func() {
		st.end(status.Errorf(codes.DeadlineExceeded, "a response was not read within %s", sendTimeout))
	})
	defer slow.Stop()
	return write()
}

// lane is where the resources of an admitted type are.
func (st *stream) lane(typeURL string) *lane {
	switch typeURL {
	case resource.ClusterType:
		return st.entry.clusters
	case resource.ListenerType:
		return st.entry.listeners
	case resource.RouteType:
		return st.entry.routes
	case resource.SecretType:
		return st.entry.secrets
	case NamesType:
		return st.entry.mesh.names
	case TrustType:
		return st.entry.mesh.trust
	case IssuerType:
		return st.entry.mesh.issuer
	case ControlPlaneType:
		return st.s.controlPlane
	case LookType:
		return st.s.looks
	default:
		return st.entry.mesh.endpoints
	}
}

func (st *stream) sent(r response) {
	st.acks.sent(r)
	st.s.metrics.responses.WithLabelValues(words[r.typeURL]).Inc()
}

// answered notes what a request says of an earlier response.
func (st *stream) answered(typeURL, nonce string, refused string) {
	if nonce == "" {
		return
	}
	refusal, news := st.acks.answered(typeURL, nonce, refused)
	if refusal == nil {
		return
	}
	st.s.metrics.refusals.WithLabelValues(words[typeURL]).Inc()
	if news {
		st.s.log.Warn("proxy refused resources and kept what it had", "proxy", st.id,
			"type", words[typeURL], "resources", refusal.Resources, "reason", refusal.Reason)
	}
}
