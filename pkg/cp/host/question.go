package host

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// Bounds of asking agents.
const (
	maxAsking = 16               // questions at once
	maxPacked = 4 << 20          // bytes of an answer as it comes, compressed
	maxAnswer = 64 << 20         // bytes of it once unpacked: Envoy's dump of some thousand clusters
	askTime   = 20 * time.Second // from question to the end of the answer
)

var (
	// ErrNoAnswer: the agent could not answer, or not well; the error has its
	// words.
	ErrNoAnswer = errors.New("the agent gave no answer")
	// ErrBusy: as much is asked already as may be.
	ErrBusy = errors.New("too many agents are asked at once: try again")
)

// Questions are what agents are asked about their Envoys. A question travels on
// the stream that the agent holds, its answer comes by the method Answer.
type Questions struct {
	// Send puts a question on the stream of a proxy.
	Send func(id proxy.ID, q *hostv1.Question) error

	mu      sync.Mutex
	waiting map[string]*question // by id
}

// A question waits for its answer. What has to do with it ends with ctx.
type question struct {
	ctx    context.Context //nolint:containedctx // two calls meet here, and the asker's counts
	of     proxy.ID
	taken  bool        // somebody answers; under Questions.mu
	answer chan answer // capacity 1
}

type answer struct {
	packed []byte
	err    error
}

// Ask asks the agent of a proxy and returns its answer, compressed by gzip and
// found to be whole. It fails with what Send fails with, ErrNoAnswer, ErrBusy or
// the context's error.
func (q *Questions) Ask(ctx context.Context, id proxy.ID, about *hostv1.Question) (packed []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	about = proto.CloneOf(about)
	about.Id = uuid.NewString()
	w := &question{ctx: ctx, of: id, answer: make(chan answer, 1)}
	q.mu.Lock()
	busy := len(q.waiting) >= maxAsking
	if !busy {
		if q.waiting == nil {
			q.waiting = map[string]*question{}
		}
		q.waiting[about.GetId()] = w
	}
	q.mu.Unlock()
	if busy {
		return nil, ErrBusy
	}
	defer func() {
		q.mu.Lock()
		delete(q.waiting, about.GetId())
		q.mu.Unlock()
	}()
	if err := q.Send(id, about); err != nil {
		return nil, err
	}
	select {
	case a := <-w.answer:
		return a.packed, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("the agent of %s did not answer: %w", quote(id), ctx.Err())
	}
}

// find returns the question that an agent answers, if it was asked of it and is
// not answered yet.
func (q *Questions) find(id string, by proxy.ID) (*question, error) {
	if q != nil {
		q.mu.Lock()
		defer q.mu.Unlock()
		if w := q.waiting[id]; w != nil && w.of == by && !w.taken {
			w.taken = true
			return w, nil
		}
	}
	return nil, status.Error(codes.NotFound, "nobody waits for an answer to this question")
}

// Answer implements hostv1.HostServer.
func (s *Service) Answer(from grpc.ClientStreamingServer[hostv1.AnswerPart, hostv1.AnswerResponse]) error {
	g, err := s.Auth.Agent(from.Context())
	if err != nil {
		return s.finish("answer", err)
	}
	var w *question
	found, read := make(chan *question, 1), make(chan answer, 1)
	go func() { // ends with the stream
		w, err := s.asked(from, g.ID)
		if found <- w; err != nil {
			read <- answer{err: err}
			return
		}
		packed, err := receive(from)
		read <- answer{packed, err}
	}()
	late := time.NewTimer(receiveTime)
	defer late.Stop()
	select {
	case w = <-found:
	case <-late.C:
		return status.Errorf(codes.DeadlineExceeded, "the answer did not begin within %s", receiveTime)
	}
	if w == nil {
		return s.finish("answer", (<-read).err)
	}
	select {
	case a := <-read:
		w.answer <- a
		if a.err != nil {
			return s.finish("answer", a.err)
		}
		return from.SendAndClose(&hostv1.AnswerResponse{})
	case <-w.ctx.Done():
		return status.Error(codes.Canceled, "nobody waits for the answer any more")
	}
}

// asked reads which question is answered.
func (s *Service) asked(from grpc.ClientStreamingServer[hostv1.AnswerPart, hostv1.AnswerResponse], id proxy.ID) (*question, error) {
	part, err := from.Recv()
	if err != nil {
		return nil, err
	}
	return s.Questions.find(part.GetQuestion(), id)
}

// receive reads an answer to its end.
func receive(from grpc.ClientStreamingServer[hostv1.AnswerPart, hostv1.AnswerResponse]) ([]byte, error) {
	var got bytes.Buffer
	for {
		part, err := from.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return got.Bytes(), whole(got.Bytes())
		case err != nil:
			return nil, fmt.Errorf("%w: it was cut off: %s", ErrNoAnswer, status.Convert(err).Message())
		case part.GetFailed() != "":
			return nil, fmt.Errorf("%w: %.512s", ErrNoAnswer, part.GetFailed())
		case got.Len()+len(part.GetBody()) > maxPacked:
			return nil, fmt.Errorf("%w: it is larger than %d bytes, compressed", ErrNoAnswer, maxPacked)
		}
		got.Write(part.GetBody())
	}
}

// whole fails unless packed unpacks to its end, to no more than maxAnswer.
func whole(packed []byte) error {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return fmt.Errorf("%w: it is not compressed by gzip: %w", ErrNoAnswer, err)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(r, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("%w: it cannot be unpacked: %w", ErrNoAnswer, err)
	}
	if n > maxAnswer {
		return fmt.Errorf("%w: it is larger than %d bytes", ErrNoAnswer, maxAnswer)
	}
	return nil
}
