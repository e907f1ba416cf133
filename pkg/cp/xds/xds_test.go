package xds

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/internal/fakeenvoy"
	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/envoy/render"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// modes runs a test for delta and for the state of the world.
func modes(t *testing.T, f func(t *testing.T, world bool)) {
	t.Run("delta", func(t *testing.T) { f(t, false) })
	t.Run("world", func(t *testing.T) { f(t, true) })
}

func open(t *testing.T, w *world, id proxy.ID, opt fakeenvoy.Options) *fakeenvoy.Client {
	t.Helper()
	opt.Node, opt.Token = id.String(), id.String()
	return fakeenvoy.Open(t, w.conn, opt)
}

// has is true of a state that prints as want.
func has(want string) func(fakeenvoy.State) bool {
	return func(s fakeenvoy.State) bool { return s.String() == want }
}

func TestOnlyAggregatedStreamsAreServed(t *testing.T) {
	g := grpc.NewServer()
	New(Config{}).Register(g)
	var got []string
	for name, info := range g.GetServiceInfo() {
		for _, m := range info.Methods {
			got = append(got, fmt.Sprintf("%s/%s client=%t server=%t", name, m.Name, m.IsClientStream, m.IsServerStream))
		}
	}
	slices.Sort(got)
	want := []string{
		"envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources client=true server=true",
		"envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources client=true server=true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("methods:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestProxyGetsAllThatIsItsOwnAndItsMeshs(t *testing.T) {
	modes(t, func(t *testing.T, sotw bool) {
		w := newWorld(t)
		w.give(t, web, bundleOf(time.Second, "api", "db"))
		w.endpoints(t, "default", []render.Resource{assignment("api", "192.0.2.1", "192.0.2.2"), assignment("unrelated", "192.0.2.9")})
		w.endpoints(t, "another", []render.Resource{assignment("db", "198.51.100.1")})
		if err := w.PublishNames("default", &hostv1.NameTable{Names: []*hostv1.Name{{Name: "api.mesh", Addresses: [][]byte{{240, 0, 0, 7}}}}}); err != nil {
			t.Fatal(err)
		}

		c := open(t, w, web, fakeenvoy.Options{World: sotw, Names: true})
		// db has no endpoints in this mesh: it gets an assignment without
		// members, so that Envoy does not wait.
		c.Wait(t, "everything", has(`cluster api
cluster db
endpoints api [192.0.2.1:80 192.0.2.2:80]
endpoints db []
listener out-api
listener out-db
route to-api
route to-db
name api.mesh 240.0.0.7
`))
		if got := w.Connected(); !slices.Equal(got, []proxy.ID{web}) {
			t.Errorf("connected: %v", got)
		}
		var st Status
		eventually(t, "all types are taken", func() bool {
			st, _ = w.Status(web)
			return len(st.Types) == 5 && !slices.ContainsFunc(st.Types, func(ts TypeStatus) bool { return ts.Acked != ts.Sent })
		})
		for _, ts := range st.Types {
			if ts.Responses == 0 || ts.Taken != ts.Responses || ts.Refusals != 0 {
				t.Errorf("%s: %d responses, %d taken, %d refused", ts.Type, ts.Responses, ts.Taken, ts.Refusals)
			}
		}
		if st.Delta == sotw || st.Streams != 1 || st.Since.IsZero() || st.Types[0].Type != "clusters" || st.Types[0].AckedAt.Before(st.Types[0].SentAt) {
			t.Errorf("status: %+v", st)
		}
		c.Close()
		eventually(t, "nobody is connected", func() bool { return len(w.Connected()) == 0 })
		if _, ok := w.Status(web); ok {
			t.Error("a proxy without a stream has a status")
		}
	})
}

func TestEndpointChangeMovesOneAssignmentAndNothingElse(t *testing.T) {
	modes(t, func(t *testing.T, sotw bool) {
		w := newWorld(t)
		w.endpoints(t, "default", []render.Resource{assignment("api", "192.0.2.1"), assignment("db", "192.0.2.5")})
		var users []*fakeenvoy.Client
		for i := range 5 {
			id := proxy.ID{Mesh: "default", Name: fmt.Sprintf("user-%d", i)}
			w.give(t, id, bundleOf(time.Second, "api", "db"))
			users = append(users, open(t, w, id, fakeenvoy.Options{World: sotw}))
		}
		stranger := proxy.ID{Mesh: "default", Name: "stranger"}
		w.give(t, stranger, bundleOf(time.Second, "db"))
		aside := open(t, w, stranger, fakeenvoy.Options{World: sotw})
		for _, c := range append(users, aside) {
			c.Wait(t, "its routes", func(s fakeenvoy.State) bool { return s.Has(fakeenvoy.Routes, "to-db") && len(s.Warming) == 0 })
		}
		before := map[*fakeenvoy.Client]int{}
		for _, c := range append(users, aside) {
			before[c] = len(c.State().Responses)
		}

		w.endpoints(t, "default", []render.Resource{assignment("api", "192.0.2.1", "192.0.2.2"), assignment("db", "192.0.2.5")})
		// A second change, of what all have, marks the end of the first.
		for _, c := range users {
			c.Wait(t, "the new endpoint", func(s fakeenvoy.State) bool {
				at, _ := s.Endpoints("api")
				return slices.Equal(at, []string{"192.0.2.1:80", "192.0.2.2:80"})
			})
		}
		w.endpoints(t, "default", []render.Resource{assignment("db", "192.0.2.6")})
		for _, c := range append(users, aside) {
			s := c.Wait(t, "the mark", func(s fakeenvoy.State) bool {
				at, _ := s.Endpoints("db")
				return slices.Equal(at, []string{"192.0.2.6:80"})
			})
			var got []string
			for _, r := range s.Responses[before[c]:] {
				got = append(got, words[r.Type]+" "+strings.Join(r.Names, ","))
			}
			want := []string{"endpoints api", "endpoints db"}
			if c == aside {
				want = want[1:]
			}
			if !slices.Equal(got, want) {
				t.Errorf("responses %q, want %q", got, want)
			}
		}
	})
}

func TestReconnectResendsNothingUnchanged(t *testing.T) {
	w := newWorld(t)
	w.give(t, web, bundleOf(time.Second, "api", "db"))
	w.endpoints(t, "default", []render.Resource{assignment("api", "192.0.2.1"), assignment("db", "192.0.2.2")})
	c := open(t, w, web, fakeenvoy.Options{})
	c.Wait(t, "its routes", func(s fakeenvoy.State) bool { return s.Has(fakeenvoy.Routes, "to-db") && len(s.Warming) == 0 })
	held := c.Held()
	c.Close()
	eventually(t, "nobody is connected", func() bool { return len(w.Connected()) == 0 })

	again := open(t, w, web, fakeenvoy.Options{Held: held, Bare: true})
	again.Ask(fakeenvoy.Clusters)
	again.Ask(fakeenvoy.Listeners)
	again.Ask(fakeenvoy.Endpoints, "api", "db")
	again.Ask(fakeenvoy.Routes, "to-api", "to-db")
	again.Wait(t, "answers to the two that Envoy waits for", func(s fakeenvoy.State) bool {
		return s.Count(fakeenvoy.Clusters) == 1 && s.Count(fakeenvoy.Listeners) == 1
	})
	w.endpoints(t, "default", []render.Resource{assignment("db", "192.0.2.3")})
	again.Wait(t, "what changed, and only that", has("endpoints db [192.0.2.3:80]\n"))
}

func TestClustersComeBeforeTheirUseAndGoAfterIt(t *testing.T) {
	modes(t, func(t *testing.T, sotw bool) {
		w := newWorld(t)
		w.give(t, web, bundleOf(time.Second, "old"))
		c := open(t, w, web, fakeenvoy.Options{World: sotw})
		s := c.Wait(t, "its route", func(s fakeenvoy.State) bool { return s.Has(fakeenvoy.Routes, "to-old") })
		before := len(s.Responses)

		w.give(t, web, bundleOf(time.Second, "new"))
		s = c.Wait(t, "the new set", func(s fakeenvoy.State) bool {
			return s.Has(fakeenvoy.Routes, "to-new") && !s.Has(fakeenvoy.Clusters, "old") && !s.Has(fakeenvoy.Listeners, "out-old")
		})
		added, used, removed := -1, -1, -1
		for i, r := range s.Responses[before:] {
			switch {
			case r.Type == fakeenvoy.Clusters && slices.Contains(r.Removed, "old"):
				removed = i
			case r.Type == fakeenvoy.Clusters && slices.Contains(r.Names, "new"):
				added = i
			case r.Type == fakeenvoy.Listeners:
				used = i
			}
		}
		if added < 0 || used < added || removed < used {
			t.Errorf("cluster added at %d, listener changed at %d, cluster removed at %d: %+v", added, used, removed, s.Responses[before:])
		}
	})
}

func TestChangedClusterGetsItsEndpointsAgain(t *testing.T) {
	modes(t, func(t *testing.T, sotw bool) {
		w := newWorld(t)
		w.give(t, web, bundleOf(time.Second, "api"))
		w.endpoints(t, "default", []render.Resource{assignment("api", "192.0.2.1")})
		c := open(t, w, web, fakeenvoy.Options{World: sotw})
		warm := func(s fakeenvoy.State) bool { return s.Has(fakeenvoy.Routes, "to-api") && len(s.Warming) == 0 }
		c.Wait(t, "a warm cluster", warm)
		for i := range 3 {
			w.give(t, web, bundleOf(time.Duration(i+2)*time.Second, "api"))
			c.Wait(t, "a changed warm cluster", func(s fakeenvoy.State) bool {
				return s.Count(fakeenvoy.Clusters) == i+2 && warm(s)
			})
		}
		if got := c.State().Count(fakeenvoy.Endpoints); got != 4 {
			t.Errorf("%d responses with endpoints, want one for each of 4 clusters", got)
		}
	})
}

func TestClusterThatChangedWhileAwayGetsItsEndpointsAgain(t *testing.T) {
	w := newWorld(t)
	w.give(t, web, bundleOf(time.Second, "api"))
	w.endpoints(t, "default", []render.Resource{assignment("api", "192.0.2.1")})
	c := open(t, w, web, fakeenvoy.Options{})
	c.Wait(t, "a warm cluster", func(s fakeenvoy.State) bool { return s.Has(fakeenvoy.Clusters, "api") && len(s.Warming) == 0 })
	held := c.Held()
	c.Close()
	w.give(t, web, bundleOf(2*time.Second, "api"))
	again := open(t, w, web, fakeenvoy.Options{Held: held})
	again.Wait(t, "a warm cluster", func(s fakeenvoy.State) bool {
		return s.Has(fakeenvoy.Clusters, "api") && len(s.Warming) == 0
	})
}

func TestAssignmentStaysAsLongAsAProxyNeedsIt(t *testing.T) {
	w := newWorld(t)
	w.give(t, web, bundleOf(time.Second, "api"))
	w.endpoints(t, "default", []render.Resource{assignment("api", "192.0.2.1"), assignment("idle", "192.0.2.3")})
	c := open(t, w, web, fakeenvoy.Options{})
	c.Wait(t, "the endpoint", func(s fakeenvoy.State) bool { at, ok := s.Endpoints("api"); return ok && len(at) == 1 })

	lane := w.mesh("default").endpoints
	if err := w.PublishEndpoints("default", []render.Resource{assignment("other", "192.0.2.4")}, nil, []string{"api"}); err != nil {
		t.Fatal(err)
	}
	w.give(t, web, bundleOf(2*time.Second, "api", "other"))
	c.Wait(t, "the endpoint of what was left, and the other", func(s fakeenvoy.State) bool {
		at, ok := s.Endpoints("api")
		_, other := s.Endpoints("other")
		return ok && len(at) == 1 && other
	})
	w.give(t, web, bundleOf(time.Second, "api"))
	w.endpoints(t, "default", nil, "api", "idle")
	c.Wait(t, "an empty assignment", func(s fakeenvoy.State) bool { at, ok := s.Endpoints("api"); return ok && len(at) == 0 })
	if lane.has("idle") || !lane.has("api") {
		t.Errorf("idle is kept: %t, api is kept: %t", lane.has("idle"), lane.has("api"))
	}
	c.Close()
	eventually(t, "the empty assignment goes with its last user", func() bool { return !lane.has("api") })
}

func TestBadResourceIsRefusedAtTheDoor(t *testing.T) {
	w := newWorld(t)
	w.give(t, web, bundleOf(time.Second, "api"))
	c := open(t, w, web, fakeenvoy.Options{})
	c.Wait(t, "its route", func(s fakeenvoy.State) bool { return s.Has(fakeenvoy.Routes, "to-api") })

	err := w.PublishEndpoints("default", []render.Resource{assignment("bad\xff", "192.0.2.1"), assignment("api", "192.0.2.1")}, nil, nil)
	if err == nil || !strings.Contains(err.Error(), `bad\xff`) {
		t.Errorf("error %v does not name the bad one", err)
	}
	c.Wait(t, "the good one of the same batch", func(s fakeenvoy.State) bool { at, _ := s.Endpoints("api"); return len(at) == 1 })

	b := bundleOf(time.Second, "api", "more")
	b.Routes = append(b.Routes, assignment("bad\xff"))
	if err := w.publish(web, b); err == nil {
		t.Error("a bundle that cannot be encoded was published")
	}
	if e := w.proxies[web]; e.clusters.has("more") {
		t.Error("a refused bundle was published in part")
	}
}

func TestMetrics(t *testing.T) {
	w := newWorld(t)
	w.give(t, web, bundleOf(time.Second, "api"))
	c := open(t, w, web, fakeenvoy.Options{Refuse: func(typeURL, _ string) string {
		if typeURL == fakeenvoy.Listeners {
			return "no"
		}
		return ""
	}})
	c.Wait(t, "a refusal", func(s fakeenvoy.State) bool { return s.Count(fakeenvoy.Listeners) == 1 })
	eventually(t, "the refusal is known", func() bool {
		st, _ := w.Status(web)
		return slices.ContainsFunc(st.Types, func(ts TypeStatus) bool { return ts.Refused != nil })
	})
	st, _ := w.Status(web)
	if i := slices.IndexFunc(st.Types, func(ts TypeStatus) bool { return ts.Type == "listeners" }); st.Types[i].Responses != 1 || st.Types[i].Refusals != 1 || st.Types[i].Taken != 0 {
		t.Errorf("status of a refusal: %+v", st.Types[i])
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(w.Metrics()...)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"weft_xds_connected_proxies": 1, "weft_xds_nacks_total listeners": 1,
		"weft_xds_pushes_total listeners": 1, "weft_xds_pushes_total clusters": 1, "weft_xds_panics_total": 0,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}

func TestShutdownSendsProxiesAwayAndTakesNone(t *testing.T) {
	w := newWorld(t)
	w.give(t, web, bundleOf(time.Second, "api"))
	c := open(t, w, web, fakeenvoy.Options{})
	c.Wait(t, "its route", func(s fakeenvoy.State) bool { return s.Has(fakeenvoy.Routes, "to-api") })
	w.Shutdown()
	if err := c.WaitEnd(t); status.Code(err) != codes.Unavailable {
		t.Errorf("ended with %v", err)
	}
	if err := open(t, w, web, fakeenvoy.Options{}).WaitEnd(t); status.Code(err) != codes.Unavailable {
		t.Errorf("a new stream ended with %v", err)
	}
}

// A listener that names a cluster which the proxy is still making ready would
// fail every call.
func TestListenersWaitUntilClustersAreTaken(t *testing.T) {
	w := newWorld(t)
	w.give(t, web, bundleOf(time.Second, "old"))
	c := open(t, w, web, fakeenvoy.Options{Bare: true, Silent: true})
	taken := 0
	take := func(typeURL string) {
		t.Helper()
		taken++
		c.SendRaw(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURL, ResponseNonce: strconv.Itoa(taken)})
	}
	for _, typeURL := range []string{fakeenvoy.Clusters, fakeenvoy.Listeners} {
		c.Ask(typeURL)
		c.Wait(t, "the first", func(s fakeenvoy.State) bool { return s.Count(typeURL) == 1 })
		take(typeURL)
	}
	w.give(t, web, bundleOf(time.Second, "new"))
	c.Wait(t, "the new cluster", func(s fakeenvoy.State) bool { return s.Has(fakeenvoy.Clusters, "new") })
	c.Ask(fakeenvoy.Names, "names")
	c.Ask(fakeenvoy.Endpoints, "new")
	s := c.Wait(t, "what else is told", func(s fakeenvoy.State) bool { return s.Count(fakeenvoy.Endpoints) == 1 })
	if s.Count(fakeenvoy.Listeners) != 1 {
		t.Errorf("listeners came before the proxy had the cluster: %+v", s.Responses)
	}
	take(fakeenvoy.Clusters)
	c.Wait(t, "the new listener", func(s fakeenvoy.State) bool { return s.Has(fakeenvoy.Listeners, "out-new") })
}
