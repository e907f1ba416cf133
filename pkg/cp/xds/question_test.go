package xds

import (
	"context"
	"errors"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/internal/fakeenvoy"
	"github.com/weft-mesh/weft/pkg/api/hostv1"
)

// TestQuestionsReachTheAgent: beside what it follows an agent gets questions, at
// once, though it has taken nothing yet; whoever does not say that it answers
// gets none.
func TestQuestionsReachTheAgent(t *testing.T) {
	w := newWorld(t)
	w.give(t, web, bundleOf(time.Second, "api"))
	w.give(t, other, bundleOf(time.Second, "api"))
	if err := w.Ask(web, &hostv1.Question{Id: "1"}); !errors.Is(err, ErrAway) {
		t.Errorf("asked who is not there: %v", err)
	}
	deaf := open(t, w, other, fakeenvoy.Options{})
	deaf.Wait(t, "its cluster", func(s fakeenvoy.State) bool { return s.Has(fakeenvoy.Clusters, "api") })
	if err := w.Ask(other, &hostv1.Question{Id: "1"}); !errors.Is(err, ErrDeaf) {
		t.Errorf("asked who does not answer: %v", err)
	}
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), "authorization", web.String()))
	defer cancel()
	g, err := discoveryv3.NewAggregatedDiscoveryServiceClient(w.conn).DeltaAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	node := &corev3.Node{Id: web.String(), ClientFeatures: []string{hostv1.QuestionsFeature}}
	if err := g.Send(&discoveryv3.DeltaDiscoveryRequest{Node: node, TypeUrl: fakeenvoy.Clusters}); err != nil {
		t.Fatal(err)
	}
	if resp, err := g.Recv(); err != nil || resp.GetTypeUrl() != fakeenvoy.Clusters {
		t.Fatalf("%v, %v", resp, err)
	}
	for _, id := range []string{"1", "2"} {
		if err := w.Ask(web, &hostv1.Question{Id: id, About: hostv1.Question_STATS}); err != nil {
			t.Fatal(err)
		}
		resp, err := g.Recv()
		if err != nil {
			t.Fatal(err)
		}
		var q hostv1.Question
		if resp.GetTypeUrl() != hostv1.QuestionType || len(resp.GetResources()) != 1 || resp.GetNonce() != "" {
			t.Fatalf("got %v", resp)
		}
		if err := proto.Unmarshal(resp.GetResources()[0].GetResource().GetValue(), &q); err != nil || q.GetId() != id || q.GetAbout() != hostv1.Question_STATS {
			t.Errorf("question %v, %v", &q, err)
		}
	}
}
