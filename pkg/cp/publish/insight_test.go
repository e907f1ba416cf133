package publish

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/fakeenvoy"
	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

func TestInsightTellsWarningsAndRefusals(t *testing.T) {
	everybody := []mesh.Selector{{Match: mesh.Tags{mesh.ServiceTag: mesh.Any}}}
	l := newPipeline(t, func(m *memory) {
		m.put(mesh.TrafficLogKind, "default", "all", &mesh.TrafficLog{
			Sources: everybody, Destinations: everybody, Conf: &mesh.TrafficLogConf{Backend: "nobody"},
		})
		m.putDataplane(t, "web", dataplane("192.0.2.1", "web", "api"))
		m.putDataplane(t, "api", dataplane("192.0.2.2", "api", "web"))
	})
	l.open(t, "web", fakeenvoy.Options{Refuse: func(typeURL, _ string) string {
		if typeURL == fakeenvoy.Listeners {
			return "no listener today"
		}
		return ""
	}})
	const warning = `"nobody" is not the name of any of logging.backends`
	warned := func(f *api.Findings) bool { return f != nil && strings.Contains(fmt.Sprint(f.Warnings), warning) }

	deadline := time.After(time.Minute)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	var in api.DataplaneInsight
	for in.Weft == nil || len(in.Weft.Refused) == 0 {
		select {
		case <-tick.C:
			in = l.KnownInsight("default", "web")
		case <-deadline:
			t.Fatalf("no refusal: %+v", in)
		}
	}
	if r := in.Weft.Refused[0]; r.Type != "listeners" || !strings.HasSuffix(r.Reason, "no listener today") || len(r.Resources) == 0 || r.At.IsZero() {
		t.Errorf("refused: %+v", r)
	}
	if !warned(in.Weft) || in.Weft.Problem != "" {
		t.Errorf("findings: %+v", in.Weft)
	}
	if len(in.Subscriptions) != 1 {
		t.Fatalf("subscriptions: %+v", in.Subscriptions)
	}
	s := in.Subscriptions[0]
	if n := s.Status.LDS; n.Sent != 1 || n.Rejected != 1 || n.Acknowledged != 0 {
		t.Errorf("listeners: %+v", n)
	}
	if n := s.Status.Total; n.Rejected != 1 || n.Sent <= s.Status.LDS.Sent || s.Status.LastUpdateTime.Before(s.ConnectTime) {
		t.Errorf("status: %+v", s.Status)
	}

	// Of who is not connected a list tells nothing, as that would cost a plan.
	if known := l.KnownInsight("default", "api"); known.Weft != nil || known.Subscriptions != nil {
		t.Errorf("known of who is not connected: %+v", known)
	}
	in, err := l.Insight(t.Context(), "default", "api")
	if err != nil || !warned(in.Weft) || in.Subscriptions != nil {
		t.Errorf("insight of who is not connected: %v, %+v", err, in)
	}
	if _, err := l.Insight(t.Context(), "default", "absent"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a dataplane that there is not: %v", err)
	}
}
