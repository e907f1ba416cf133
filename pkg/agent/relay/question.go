package relay

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
)

const (
	partSize   = 64 << 10         // bytes of one part of an answer
	answerTime = 15 * time.Second // for one
)

// questionIn returns the question that a response is, nil where it is none.
func (r *Relay) questionIn(resp *discoveryv3.DeltaDiscoveryResponse) *hostv1.Question {
	if r.cfg.OnQuestion == nil || resp.GetTypeUrl() != hostv1.QuestionType {
		return nil
	}
	var q hostv1.Question
	for _, res := range resp.GetResources() {
		if err := proto.Unmarshal(res.GetResource().GetValue(), &q); err != nil {
			r.log.Warn("question of the control plane cannot be read", "error", err)
		}
	}
	return &q
}

// answer answers a question on the connection by which it came. One that comes
// while another is answered is told so.
func (r *Relay) answer(ctx context.Context, conn *grpc.ClientConn, q *hostv1.Question) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	stream, err := hostv1.NewHostClient(conn).Answer(ctx)
	if err != nil {
		r.log.Warn("question of the control plane not answered", "error", err)
		return
	}
	first := &hostv1.AnswerPart{Question: q.GetId()}
	err = stream.Send(first)
	if err == nil {
		select {
		case r.answering <- struct{}{}:
			err = r.write(ctx, q, stream)
			<-r.answering
		default:
			err = errors.New("the agent answers another question: try again")
		}
		if err != nil {
			// Send fails without a reason where the stream has ended.
			_ = stream.Send(&hostv1.AnswerPart{Failed: clip(err.Error(), maxWords)})
		}
	}
	if _, ended := stream.CloseAndRecv(); err == nil {
		err = ended
	}
	if err != nil {
		r.log.Warn("question of the control plane not answered", "about", q.GetAbout(), "error", err)
	}
}

// write has the answer go out as it is made, compressed.
func (r *Relay) write(ctx context.Context, q *hostv1.Question, to grpc.ClientStreamingClient[hostv1.AnswerPart, hostv1.AnswerResponse]) error {
	parts := bufio.NewWriterSize(partWriter{to}, partSize)
	zip := gzip.NewWriter(parts)
	if err := r.cfg.OnQuestion(ctx, q, zip); err != nil {
		return err
	}
	if err := errors.Join(zip.Close(), parts.Flush()); err != nil {
		return fmt.Errorf("send the answer: %w", err)
	}
	return nil
}

// A partWriter sends what is written to it.
type partWriter struct {
	to grpc.ClientStreamingClient[hostv1.AnswerPart, hostv1.AnswerResponse]
}

func (w partWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		part := p[:min(len(p), partSize)]
		if err := w.to.Send(&hostv1.AnswerPart{Body: part}); err != nil {
			if errors.Is(err, io.EOF) { // the reason is CloseAndRecv's to tell
				err = errors.New("the control plane does not listen any more")
			}
			return n, err
		}
		n, p = n+len(part), p[len(part):]
	}
	return n, nil
}
