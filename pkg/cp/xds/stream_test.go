package xds

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"net"

	"github.com/weft-mesh/weft/internal/fakeenvoy"
	"github.com/weft-mesh/weft/pkg/envoy/render"
	"github.com/weft-mesh/weft/pkg/proxy"
)

func TestParseNode(t *testing.T) {
	for node, want := range map[string]proxy.ID{
		"default.web":        {Mesh: "default", Name: "web"},
		"default.web.eu.one": {Mesh: "default", Name: "web.eu.one"},
		"m..":                {Mesh: "m", Name: "."},
		"":                   {}, ".": {}, "web": {}, ".web": {}, "default.": {},
		"m." + strings.Repeat("x", 600): {},
	} {
		got, err := ParseNode(node)
		if got != want || (err != nil) != (want == proxy.ID{}) {
			t.Errorf("%.20q: %v, %v; want %v", node, got, err, want)
		}
	}
}

func TestWhoIsNotAuthenticatedIsServedNothing(t *testing.T) {
	modes(t, func(t *testing.T, sotw bool) {
		w := newWorld(t)
		w.give(t, web, bundleOf(time.Second, "api"))
		w.connect = func(proxy.ID) error { t.Error("a plan was made"); return nil }
		for _, token := range []string{"", other.String()} {
			c := fakeenvoy.Open(t, w.conn, fakeenvoy.Options{Node: web.String(), Token: token, World: sotw, Names: true})
			err := c.WaitEnd(t)
			if status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), "not for this dataplane") {
				t.Errorf("token %q: %v", token, err)
			}
			if n := len(c.State().Responses); n != 0 {
				t.Errorf("token %q: %d responses", token, n)
			}
		}
		if got := w.Connected(); len(got) != 0 {
			t.Errorf("connected: %v", got)
		}
	})
}

func TestBadRequestsEndOnlyTheirStream(t *testing.T) {
	w := newWorld(t)
	w.give(t, web, bundleOf(time.Second, "api"))
	w.give(t, other, bundleOf(time.Second, "api"))
	beside := open(t, w, other, fakeenvoy.Options{})
	beside.Wait(t, "its route", func(s fakeenvoy.State) bool { return s.Has(fakeenvoy.Routes, "to-api") })

	many := make([]string, maxNames+1)
	versions := map[string]string{}
	for i := range many {
		many[i] = fmt.Sprint("n", i)
		versions[many[i]] = "v"
	}
	node := &corev3.Node{Id: web.String()}
	type requests []*discoveryv3.DeltaDiscoveryRequest
	ended := 0
	for _, tt := range []struct {
		name string
		send requests
		want codes.Code
		says string
	}{
		{"no node", requests{{TypeUrl: fakeenvoy.Clusters}}, codes.InvalidArgument, "<mesh>.<name of the dataplane>"},
		{"node without a mesh", requests{{Node: &corev3.Node{Id: "web"}, TypeUrl: fakeenvoy.Clusters}}, codes.InvalidArgument, "<mesh>"},
		{"another node later", requests{{Node: node, TypeUrl: fakeenvoy.Clusters}, {Node: &corev3.Node{Id: other.String()}, TypeUrl: fakeenvoy.Listeners}}, codes.PermissionDenied, "changed"},
		{"an empty node later", requests{{Node: node, TypeUrl: fakeenvoy.Clusters}, {Node: &corev3.Node{}, TypeUrl: fakeenvoy.Listeners}}, codes.PermissionDenied, "changed"},
		{"runtime layers", requests{{Node: node, TypeUrl: resource.RuntimeType}}, codes.InvalidArgument, "not served here"},
		{"unknown type", requests{{Node: node, TypeUrl: "type.googleapis.com/x"}}, codes.InvalidArgument, "not served here"},
		{"no type", requests{{Node: node}}, codes.InvalidArgument, "not served here"},
		{"too many names", requests{{Node: node, TypeUrl: fakeenvoy.Endpoints, ResourceNamesSubscribe: many}}, codes.ResourceExhausted, "the limit"},
		{"too many names bit by bit", requests{{Node: node, TypeUrl: fakeenvoy.Endpoints, ResourceNamesSubscribe: many[:maxNames]}, {TypeUrl: fakeenvoy.Endpoints, ResourceNamesSubscribe: many[maxNames:]}}, codes.ResourceExhausted, "the limit"},
		{"too many versions", requests{{Node: node, TypeUrl: fakeenvoy.Endpoints, InitialResourceVersions: versions}}, codes.ResourceExhausted, "the limit"},
		{"too large", requests{{Node: node, TypeUrl: fakeenvoy.Clusters, ResponseNonce: strings.Repeat("x", maxRequest)}}, codes.ResourceExhausted, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := fakeenvoy.Open(t, w.conn, fakeenvoy.Options{Token: web.String(), Bare: true})
			for _, r := range tt.send {
				c.SendRaw(r)
			}
			err := c.WaitEnd(t)
			if status.Code(err) != tt.want || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("ended with %v, want %v %q", err, tt.want, tt.says)
			}
			ended++
		})
	}
	w.endpoints(t, "default", []render.Resource{assignment("api", "192.0.2.1")})
	beside.Wait(t, "an endpoint after all that", func(s fakeenvoy.State) bool { at, _ := s.Endpoints("api"); return len(at) == 1 })
	t.Logf("F29: seed none, malformed streams %d, each ended with its status; the one beside them goes on", ended)
}

func TestStrayAnswersAreIgnored(t *testing.T) {
	w := newWorld(t)
	w.give(t, web, bundleOf(time.Second, "api"))
	c := fakeenvoy.Open(t, w.conn, fakeenvoy.Options{Token: web.String(), Bare: true, Silent: true})
	c.SendRaw(&discoveryv3.DeltaDiscoveryRequest{
		Node: &corev3.Node{Id: web.String()}, TypeUrl: fakeenvoy.Clusters, ResponseNonce: "77",
		ErrorDetail: status.New(codes.Internal, "never sent").Proto(), ResourceNamesUnsubscribe: []string{"x", "*", ""},
	})
	c.Wait(t, "its cluster", func(s fakeenvoy.State) bool { return s.Has(fakeenvoy.Clusters, "api") })
	if st, _ := w.Status(web); len(st.Types) != 1 || st.Types[0].Refused != nil || st.Types[0].Acked != "" {
		t.Errorf("status: %+v", st)
	}
}

func TestRefusalIsKnownUntilALaterResponseIsTaken(t *testing.T) {
	modes(t, func(t *testing.T, sotw bool) {
		w := newWorld(t)
		refused := func(typeURL, name string) string {
			if typeURL == fakeenvoy.Listeners && name == "out-bad" {
				return "cannot bind"
			}
			return ""
		}
		// Refused from the start: the first response of all is the one that
		// must not be repeated.
		w.give(t, web, bundleOf(time.Second, "api", "bad"))
		c := open(t, w, web, fakeenvoy.Options{World: sotw, Refuse: refused})
		var r *Refusal
		eventually(t, "the refusal is known", func() bool {
			st, _ := w.Status(web)
			for _, ts := range st.Types {
				if ts.Type == "listeners" {
					r = ts.Refused
				}
			}
			return r != nil
		})
		if want := "Error adding/updating out-bad: cannot bind"; r.Reason != want || fmt.Sprint(r.Resources) != "[out-bad]" || r.At.IsZero() {
			t.Errorf("refusal %+v", r)
		}
		w.endpoints(t, "default", []render.Resource{assignment("api", "192.0.2.1")})
		s := c.Wait(t, "endpoints, refusal or not", func(s fakeenvoy.State) bool { at, _ := s.Endpoints("api"); return len(at) == 1 })
		if n := s.Count(fakeenvoy.Listeners); n != 1 || !s.Has(fakeenvoy.Listeners, "out-api") {
			t.Errorf("listeners were sent %d times:\n%s", n, s)
		}
		if n := strings.Count(w.log.String(), "proxy refused resources"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, w.log)
		}

		w.give(t, web, bundleOf(time.Second, "api"))
		eventually(t, "the refusal is over", func() bool {
			st, _ := w.Status(web)
			for _, ts := range st.Types {
				if ts.Type == "listeners" {
					return ts.Refused == nil && ts.Acked == ts.Sent
				}
			}
			return false
		})
	})
}

func TestDropEndsEveryStreamAndSaysWhy(t *testing.T) {
	w := newWorld(t)
	w.give(t, web, bundleOf(time.Second, "api"))
	w.give(t, other, bundleOf(time.Second, "api"))
	a, b := open(t, w, web, fakeenvoy.Options{}), open(t, w, web, fakeenvoy.Options{World: true})
	stays := open(t, w, other, fakeenvoy.Options{})
	for _, c := range []*fakeenvoy.Client{a, b, stays} {
		c.Wait(t, "its route", func(s fakeenvoy.State) bool { return s.Has(fakeenvoy.Routes, "to-api") })
	}
	if st, _ := w.Status(web); st.Streams != 2 {
		t.Errorf("%d streams, want 2", st.Streams)
	}
	w.Drop(web, fmt.Errorf("dataplane web was deleted: %w", ErrUnknown))
	for _, c := range []*fakeenvoy.Client{a, b} {
		if err := c.WaitEnd(t); status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), "was deleted") {
			t.Errorf("ended with %v", err)
		}
	}
	eventually(t, "only the other one is connected", func() bool { return fmt.Sprint(w.Connected()) == "[default.other.one]" })
	w.endpoints(t, "default", []render.Resource{assignment("api", "192.0.2.1")})
	stays.Wait(t, "an endpoint", func(s fakeenvoy.State) bool { at, _ := s.Endpoints("api"); return len(at) == 1 })

	c := open(t, w, other, fakeenvoy.Options{})
	c.Wait(t, "its route", func(s fakeenvoy.State) bool { return s.Has(fakeenvoy.Routes, "to-api") })
	w.Drop(other, errors.New("the certificate was revoked"))
	if err := c.WaitEnd(t); status.Code(err) != codes.PermissionDenied {
		t.Errorf("ended with %v", err)
	}
}

func TestWhatConnectReturnsEndsTheStream(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		err  error
		want codes.Code
	}{
		{fmt.Errorf("web: %w", ErrUnknown), codes.NotFound},
		{fmt.Errorf("web %w", ErrBroken), codes.FailedPrecondition},
		{errors.New("the store is away"), codes.Unavailable},
		{status.Error(codes.Aborted, "mine"), codes.Aborted},
	} {
		w.connect = func(proxy.ID) error { return tt.err }
		if err := open(t, w, web, fakeenvoy.Options{}).WaitEnd(t); status.Code(err) != tt.want {
			t.Errorf("%v: ended with %v", tt.err, err)
		}
	}
	eventually(t, "nobody is connected", func() bool { return len(w.Connected()) == 0 })
}

func TestPanicCostsOneStream(t *testing.T) {
	w := newWorld(t)
	w.give(t, other, bundleOf(time.Second, "api"))
	w.connect = func(id proxy.ID) error {
		if id == web {
			panic("for the test")
		}
		return w.publish(id, bundleOf(time.Second, "api"))
	}
	if err := open(t, w, web, fakeenvoy.Options{}).WaitEnd(t); status.Code(err) != codes.Internal || strings.Contains(err.Error(), "for the test") {
		t.Errorf("ended with %v", err)
	}
	if !strings.Contains(w.log.String(), "for the test") {
		t.Error("the panic was not logged")
	}
	open(t, w, other, fakeenvoy.Options{}).Wait(t, "its route", func(s fakeenvoy.State) bool { return s.Has(fakeenvoy.Routes, "to-api") })
	if got := fmt.Sprint(w.Connected()); got != "[default.other.one]" {
		t.Errorf("connected: %s", got)
	}
}

func TestStreamsOfOneProxyAreLimited(t *testing.T) {
	w := newWorld(t)
	w.give(t, web, bundleOf(time.Second, "api"))
	for range maxStreams {
		open(t, w, web, fakeenvoy.Options{}).Wait(t, "its route", func(s fakeenvoy.State) bool { return s.Has(fakeenvoy.Routes, "to-api") })
	}
	if err := open(t, w, web, fakeenvoy.Options{}).WaitEnd(t); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("ended with %v", err)
	}
}

func TestWhoNeverAnswersCostsOnlyItself(t *testing.T) {
	w := newWorld(t)
	w.give(t, web, bundleOf(time.Second, "api"))
	w.give(t, other, bundleOf(time.Second, "api"))
	silent := open(t, w, web, fakeenvoy.Options{Silent: true})
	silent.Ask(fakeenvoy.Endpoints, "api")
	silent.Wait(t, "the first response", func(s fakeenvoy.State) bool { return s.Count(fakeenvoy.Endpoints) == 1 })
	proper := open(t, w, other, fakeenvoy.Options{})
	for i := range 50 {
		at := fmt.Sprintf("192.0.2.%d", i+1)
		w.endpoints(t, "default", []render.Resource{assignment("api", at)})
		proper.Wait(t, "endpoint "+at, func(s fakeenvoy.State) bool { got, _ := s.Endpoints("api"); return len(got) == 1 && got[0] == at+":80" })
	}
	if n := silent.State().Count(fakeenvoy.Endpoints); n != 1 {
		t.Errorf("who did not answer the first response got %d", n)
	}
}

// bubble is a server and a connection in memory, for tests in which the clock
// is theirs.
func bubble(t *testing.T, s *Server) *grpc.ClientConn {
	t.Helper()
	l := bufconn.Listen(1 << 10)
	g := grpc.NewServer(ServerOptions()...)
	s.Register(g)
	go func() { _ = g.Serve(l) }()
	t.Cleanup(g.Stop)
	conn, err := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestStreamWithoutARequestIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := bubble(t, New(Config{Auth: &tokens{}}))
		began := time.Now()
		err := fakeenvoy.Open(t, conn, fakeenvoy.Options{Bare: true}).WaitEnd(t)
		if status.Code(err) != codes.DeadlineExceeded || time.Since(began) != firstRequest {
			t.Errorf("ended after %s with %v", time.Since(began), err)
		}
	})
}

func TestWhoStopsReadingIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *Server
		s = New(Config{Auth: &tokens{}, Connect: func(_ context.Context, id proxy.ID) error {
			var services []string
			for i := range 5000 {
				services = append(services, fmt.Sprint("service-", i))
			}
			b, err := s.Encode(parts(bundleOf(time.Second, services...)), nil)
			if err == nil {
				s.Publish(id, b)
			}
			return err
		}})
		conn := bubble(t, s)
		ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), "authorization", web.String()))
		defer cancel()
		g, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, typeURL := range []string{fakeenvoy.Clusters, fakeenvoy.Listeners} { // more than fits into any window
			if err := g.Send(&discoveryv3.DeltaDiscoveryRequest{Node: &corev3.Node{Id: web.String()}, TypeUrl: typeURL}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := len(s.Connected()); n != 1 {
			t.Fatalf("%d proxies are connected", n)
		}
		<-time.After(sendTimeout + time.Second) // by the bubble's clock
		synctest.Wait()
		if n := len(s.Connected()); n != 0 {
			t.Errorf("a proxy that does not read is still connected after %s", sendTimeout)
		}
	})
}
