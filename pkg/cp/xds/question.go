package xds

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// Why a proxy cannot be asked.
var (
	// ErrAway: it has no stream here.
	ErrAway = errors.New("the proxy has no stream to this control plane")
	// ErrDeaf: it is an Envoy without an agent, or its agent is of a release that
	// knew no questions.
	ErrDeaf = errors.New("the proxy has no agent that answers questions")
)

// questions are what a stream's agent is asked and was not sent yet. They go out
// as they come: nothing follows them, and nothing is acknowledged.
type questions struct {
	heard bool // the agent answers

	mu      sync.Mutex
	wake    chan<- struct{} // of the session
	waiting []*hostv1.Question
}

// maxQuestions wait for one stream: more are more than somebody reads.
const maxQuestions = 16

// Ask sends a question to the agent of a proxy, on its newest stream. The answer
// comes by another way, see hostv1.Question.
func (s *Server) Ask(id proxy.ID, q *hostv1.Question) error {
	s.mu.Lock()
	var st *stream
	if e := s.proxies[id]; e != nil && len(e.streams) > 0 {
		st = e.streams[len(e.streams)-1]
	}
	s.mu.Unlock()
	switch {
	case st == nil:
		return ErrAway
	case !st.asked.heard:
		return ErrDeaf
	}
	return st.asked.put(q)
}

func (qs *questions) put(q *hostv1.Question) error {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	if len(qs.waiting) >= maxQuestions {
		return fmt.Errorf("%d questions wait for it already: %w", maxQuestions, ErrAway)
	}
	qs.waiting = append(qs.waiting, q)
	select {
	case qs.wake <- struct{}{}:
	default: // it is about to look
	}
	return nil
}

// of says by what session questions go out.
func (qs *questions) of(s *session) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	qs.wake = s.wake
}

func (qs *questions) take() (all []*hostv1.Question) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	all, qs.waiting = qs.waiting, nil
	return all
}

// hears tells whether a node takes questions.
func hears(node *corev3.Node) bool {
	return slices.Contains(node.GetClientFeatures(), hostv1.QuestionsFeature)
}

// ask sends what the agent is asked.
func (s *session) ask() error {
	for _, q := range s.st.asked.take() {
		body, err := anypb.New(q)
		if err != nil {
			return err
		}
		m := &discoveryv3.DeltaDiscoveryResponse{
			TypeUrl:   body.GetTypeUrl(),
			Resources: []*discoveryv3.Resource{{Name: hostv1.QuestionResource, Resource: body}},
		}
		if err := s.st.send(func() error { return s.out.SendMsg(m) }); err != nil {
			return err
		}
	}
	return nil
}
