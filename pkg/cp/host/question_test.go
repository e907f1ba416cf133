package host_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/cp/host"
	"github.com/weft-mesh/weft/pkg/cp/token"
	"github.com/weft-mesh/weft/pkg/proxy"
)

func packed(t *testing.T, size int64) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := io.CopyN(z, zeros{}, size)
	must(t, err)
	must(t, z.Close())
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestQuestions has agents answer, well and badly.
func TestQuestions(t *testing.T) {
	w := newWorld(t)
	asked := make(chan *hostv1.Question, 1)
	w.service.Questions = &host.Questions{Send: func(_ proxy.ID, q *hostv1.Question) error { asked <- q; return nil }}
	agents := map[string]*grpc.ClientConn{}
	for _, name := range []string{"web-1", "web-2"} {
		cert := w.agent(t, w.token(t, token.Claims{Tags: service("web")}), doc("default", name, "web"))
		agents[name] = w.client(t, cert)
	}
	good := packed(t, 1000)
	for _, c := range []struct {
		name, by string // whose agent answers; web-1 was asked
		parts    []*hostv1.AnswerPart
		code     codes.Code // that the agent is told
		words    string     // that the asker is told; "": it has the answer
	}{
		{"well", "web-1", []*hostv1.AnswerPart{{}, {Body: good[:10]}, {Body: good[10:]}}, codes.OK, ""},
		{"as another", "web-2", []*hostv1.AnswerPart{{}, {Body: good}}, codes.NotFound, "did not answer"},
		{"what nobody asked", "web-1", []*hostv1.AnswerPart{{Question: "x"}, {Body: good}}, codes.NotFound, "did not answer"},
		{"why not", "web-1", []*hostv1.AnswerPart{{}, {Body: good[:5]}, {Failed: "Envoy is not there"}}, codes.InvalidArgument, "Envoy is not there"},
		{"nothing", "web-1", []*hostv1.AnswerPart{{}}, codes.InvalidArgument, "not compressed"},
		{"half of it", "web-1", []*hostv1.AnswerPart{{}, {Body: good[:len(good)-4]}}, codes.InvalidArgument, "cannot be unpacked"},
		{"what is not compressed", "web-1", []*hostv1.AnswerPart{{}, {Body: []byte("hello")}}, codes.InvalidArgument, "not compressed"},
		{"a bomb", "web-1", []*hostv1.AnswerPart{{}, {Body: packed(t, 65<<20)}}, codes.InvalidArgument, "larger than"},
		{"without end", "web-1", []*hostv1.AnswerPart{{}, {Body: make([]byte, 3<<20)}, {Body: make([]byte, 3<<20)}}, codes.InvalidArgument, "larger than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			type got struct {
				packed []byte
				err    error
			}
			answer := make(chan got, 1)
			go func() {
				a, err := w.service.Questions.Ask(ctx, proxy.ID{Mesh: "default", Name: "web-1"}, &hostv1.Question{About: hostv1.Question_STATS})
				answer <- got{a, err}
			}()
			q := <-asked
			if q.GetAbout() != hostv1.Question_STATS || q.GetId() == "" {
				t.Errorf("asked %v", q)
			}
			stream, err := hostv1.NewHostClient(agents[c.by]).Answer(t.Context())
			must(t, err)
			for i, p := range c.parts {
				if i == 0 && p.Question == "" {
					p.Question = q.GetId()
				}
				if err := stream.Send(p); err != nil && !errors.Is(err, io.EOF) {
					t.Fatal(err)
				}
			}
			_, err = stream.CloseAndRecv()
			wantCode(t, err, c.code)
			if c.words == "did not answer" {
				cancel()
			}
			a := <-answer
			switch {
			case c.words == "" && (a.err != nil || !bytes.Equal(a.packed, good)):
				t.Errorf("answer of %d bytes, %v", len(a.packed), a.err)
			case c.words != "" && (a.err == nil || !strings.Contains(a.err.Error(), c.words)):
				t.Errorf("error %v, want %q", a.err, c.words)
			case c.words == "did not answer" && !errors.Is(a.err, context.Canceled):
				t.Errorf("error %v is not the context's", a.err)
			}
		})
	}
	t.Run("at once", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		failed := make(chan error, 20)
		for range cap(failed) {
			go func() {
				_, err := w.service.Questions.Ask(ctx, proxy.ID{Mesh: "default", Name: "web-1"}, &hostv1.Question{})
				failed <- err
			}()
		}
		busy := 0
		for busy < 4 {
			select {
			case err := <-failed:
				if !errors.Is(err, host.ErrBusy) {
					t.Fatalf("error %v", err)
				}
				busy++
			case <-asked:
			}
		}
	})
	t.Run("without a certificate", func(t *testing.T) {
		stream, err := hostv1.NewHostClient(w.client(t, nil)).Answer(t.Context())
		must(t, err)
		_, err = stream.CloseAndRecv()
		wantCode(t, err, codes.Unauthenticated)
	})
}
