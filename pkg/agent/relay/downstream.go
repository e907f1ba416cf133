package relay

import (
	"context"
	"errors"
	"io"
	"strconv"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

type (
	deltaRequest  = discoveryv3.DeltaDiscoveryRequest
	deltaResponse = discoveryv3.DeltaDiscoveryResponse
	deltaStream   = grpc.BidiStreamingServer[deltaRequest, deltaResponse]
)

// A session is one ADS stream of Envoy's.
type session struct {
	id       uint64
	wake     chan struct{} // there may be something to send
	replaced chan struct{} // closed when a newer session has taken over
	gone     chan struct{} // closed when this session has ended
}

// deltaResources serves one ADS stream. The newest stream is Envoy: one that
// was there before, of an Envoy that drains, keeps what it has, and is closed
// when the newer ends, so that it comes back and is served again.
func (r *Relay) deltaResources(stream deltaStream) error {
	s := r.letIn(r.cfg.envoy(stream.Context()))
	fail := make(chan error, 1)
	go func() { fail <- r.listenTo(s, stream) }()
	err := r.tell(s, stream, fail)
	r.detach(s, err)
	return err
}

// tell sends Envoy what there is to tell until the stream ends.
func (r *Relay) tell(s *session, stream deltaStream, fail <-chan error) error {
	for n := 1; ; {
		r.mu.Lock()
		var resp *deltaResponse
		if r.session == s {
			resp = r.table.offer(strconv.Itoa(n))
		}
		newest := r.session
		r.mu.Unlock()
		if resp != nil {
			n++
			if err := stream.Send(resp); err != nil {
				return err
			}
			continue
		}
		select {
		case err := <-fail:
			return err
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-s.wake:
		case <-s.replaced:
			if newest == s {
				continue // look again who is
			}
			return r.park(stream.Context(), newest, fail)
		}
	}
}

// park keeps a stream that was replaced until the newer one has ended.
func (r *Relay) park(ctx context.Context, newest *session, fail <-chan error) error {
	if newest == nil {
		return status.Error(codes.Unavailable, "connect again")
	}
	select {
	case err := <-fail:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-newest.gone:
		return status.Error(codes.Unavailable, "connect again")
	}
}

// listenTo takes Envoy's requests until the stream ends.
func (r *Relay) listenTo(s *session, stream deltaStream) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := r.hear(s, req); err != nil {
			return status.Error(codes.ResourceExhausted, err.Error())
		}
	}
}

func (r *Relay) hear(s *session, req *deltaRequest) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.session != s {
		return nil
	}
	i := kindOf(req.GetTypeUrl())
	if i < 0 || kinds[i].own {
		r.log.Warn("envoy asked for what the relay does not carry", "type", clip(req.GetTypeUrl(), 200))
		return nil
	}
	refused, err := r.table.hear(i, req, time.Now())
	if err != nil {
		return err
	}
	if words := req.GetErrorDetail().GetMessage(); words != "" {
		r.log.Warn("envoy refused", "kind", kinds[i].name, "resources", refused, "words", clip(words, maxWords))
	}
	r.checkSynced()
	r.tellNames(time.Now())
	r.up.poke()
	r.down.poke()
	r.changed()
	return nil
}

// attach makes a new session Envoy's. Where next is not nil and the control
// plane has not spoken, it is served from that.
func (r *Relay) attach(next *loaded) *session {
	s := &session{wake: make(chan struct{}, 1), replaced: make(chan struct{}), gone: make(chan struct{})}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.session != nil {
		close(r.session.replaced)
	}
	r.session = s
	if next != nil && r.fromDisk() {
		r.begin(next)
	}
	r.table.attached()
	r.down.begin(s.wake)
	s.id = r.down.id
	r.log.Info("envoy connected", "stream", s.id)
	return s
}

func (r *Relay) detach(s *session, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(s.gone)
	if r.session == s {
		r.session = nil
		r.table.detached()
		r.down.end(err)
	}
	r.log.Info("envoy disconnected", "stream", s.id, "error", err)
}

// checkSynced closes synced when its time has come. It is called with the lock.
func (r *Relay) checkSynced() {
	if !r.isSync && r.sds.waiting == 0 && r.table.synced() {
		r.isSync = true
		close(r.synced)
		r.log.Info("envoy has its configuration")
	}
}
