package relay

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/proxy"
)

func errorDetail(words string) *rpcstatus.Status {
	return &rpcstatus.Status{Code: int32(codes.InvalidArgument), Message: words}
}

func (g *rig) held(i, want int) {
	g.t.Helper()
	deadline := time.After(patience)
	for {
		ch := g.cp.changed()
		if g.Status().Kinds[i].Held == want {
			return
		}
		select {
		case <-ch:
		case <-time.After(5 * time.Millisecond): // the relay tells nobody when it has read
		case <-deadline:
			g.t.Fatalf("relay holds %+v, want %d", g.Status().Kinds[i], want)
		}
	}
}

func TestPrefetchesAndServesInOrder(t *testing.T) {
	cp := newCP(t)
	cp.set(clusters, "a=1", "b=1")
	cp.set(listeners, "in=1")
	cp.set(endpoints, "a=1")
	g := newRig(t, cp)
	g.hears("clusters", "open [] claims []", "sent a=1 b=1")
	g.hears("listeners", "open [] claims []", "sent in=1")
	g.held(clusters, 2)
	g.held(listeners, 1)
	cp.stop() // Envoy is served by what is held

	e := g.envoy()
	e.ask(listeners)
	lds := e.want("listeners in=1") // nothing asked for clusters yet
	e.ask(clusters)
	cds := e.want("clusters a=1 b=1")
	e.ack(lds)
	e.ack(cds)
	select {
	case <-g.Synced():
	case <-time.After(patience):
		t.Fatal("not synced")
	}
}

// An Envoy that listens nowhere is not ready to have traffic pointed at it.
func TestNoListenerIsNotSynced(t *testing.T) {
	cp := newCP(t)
	cp.set(clusters, "a=1")
	cp.set(endpoints, "m1=m", "m2=m")
	g := newRig(t, cp)
	g.inject(listenerType, "in", "1")
	g.inform(&deltaResponse{TypeUrl: listenerType, Nonce: "x", RemovedResources: []string{"in"}})
	e := g.envoy()
	e.ask(clusters)
	e.take("clusters a=1")
	e.ask(listeners)
	e.take("listeners")
	e.quiet("m1")
	select {
	case <-g.Synced():
		t.Fatal("synced without a listener")
	default:
	}
	cp.set(listeners, "in=2")
	e.take("listeners in=2")
	e.quiet("m2")
	select {
	case <-g.Synced():
	case <-time.After(patience):
		t.Fatal("not synced")
	}
}

func TestListenersWaitForClusters(t *testing.T) {
	cp := newCP(t)
	cp.set(endpoints, "m1=m")
	g := newRig(t, cp)
	e := g.envoy()
	e.ask(clusters)
	cp.set(clusters, "a=1")
	cds := e.want("clusters a=1")
	e.ask(listeners)
	cp.set(listeners, "in=1")
	g.held(listeners, 1)
	e.quiet("m1")
	e.ack(cds)
	e.take("listeners in=1")

	// The control plane tells of clusters first, old ones leaving included;
	// Envoy loses a cluster after the listener that named it.
	cp.set(clusters, "b=1", "a")
	cp.set(listeners, "in=2")
	e.take("clusters b=1")
	e.take("listeners in=2")
	e.take("clusters -a")
	g.hears("clusters", "sent b=1 a", "ACK")
}

func TestAcknowledgesOnceEnvoyHas(t *testing.T) {
	cp := newCP(t)
	cp.set(clusters, "a=1")
	cp.set(endpoints, "m1=m")
	g := newRig(t, cp)
	g.hears("clusters", "open [] claims []", "sent a=1")
	e := g.envoy()
	e.ask(clusters)
	cds := e.want("clusters a=1")
	e.quiet("m1")
	if got := cp.heard("clusters"); len(got) != 2 {
		t.Fatalf("answered before Envoy did: %q", got)
	}
	e.ack(cds)
	g.hears("clusters", "sent a=1", "ACK")
}

func TestRefusalNamesTheCulpritAndKeepsTheAccepted(t *testing.T) {
	cp := newCP(t)
	cp.set(clusters, "a=1", "b=1")
	cp.set(endpoints, "m1=m", "m2=m")
	g := newRig(t, cp)
	e := g.envoy()
	e.ask(clusters)
	e.take("clusters a=1 b=1")
	cp.set(clusters, "a=2", "b=2")
	e.nack(e.want("clusters a=2 b=2"), "b is bad")
	e.take("clusters a=2") // one by one
	e.nack(e.want("clusters b=2"), "b is bad")
	e.take("clusters b=1") // to be sure that it has the one before
	g.hears("clusters", "sent a=2 b=2", "NACK b: b is bad")
	e.quiet("m1") // it is not sent again

	s := g.Status().Kinds[clusters]
	if len(s.Refused) != 1 || s.Refused[0].Name != "b" || s.Refused[0].Version != "2" || s.Refused[0].Words != "b is bad" || s.Accepted != 2 {
		t.Errorf("status: %+v", s)
	}

	// A new Envoy gets what was accepted first, then the refused once more.
	e.close()
	e = g.envoy()
	e.ask(clusters)
	e.take("clusters a=2 b=1")
	e.nack(e.want("clusters b=2"), "still bad")
	e.quiet("m2")

	// After a reconnection the control plane hears of it again.
	cp.stop()
	cp.forget()
	cp.start(t)
	g.hears("clusters", "open [] claims [a=2 b=]", "sent b=2", "NACK b: still bad")

	// A mended version is taken, and the refusal forgotten.
	cp.set(clusters, "b=3")
	e.take("clusters b=3")
	g.hears("clusters", "sent b=3", "ACK")
	if s := g.Status().Kinds[clusters]; len(s.Refused) != 0 || s.Accepted != 2 {
		t.Errorf("status: %+v", s)
	}
}

func TestControlPlaneBackSendsOnlyTheDifference(t *testing.T) {
	cp := newCP(t)
	cp.set(clusters, "a=1", "b=1", "c=1")
	cp.set(endpoints, "a=1", "b=1", "m1=m")
	cp.put(namesType, nameTable(t, "1", "api.mesh"))
	g := newRig(t, cp)
	take(t, g.names)
	e := g.envoy()
	e.ask(clusters)
	e.take("clusters a=1 b=1 c=1")
	e.ask(endpoints, "a", "b")
	e.take("endpoints a=1 b=1")
	g.hears("endpoints", "ACK")

	cp.stop()
	cp.set(clusters, "b=2", "c")
	cp.set(endpoints, "b=2")
	cp.forget()
	e.ask(endpoints, "a") // asked again while it is away: answered at once
	e.take("endpoints a=1")
	cp.start(t)
	g.hears("clusters", "open [] claims [a=1 b=1 c=1]", "sent b=2 c")
	g.hears("endpoints", "open [a b] claims [a=1 b=1]", "sent b=2")
	g.hears("names", "open [names] claims [names=1]")
	// Endpoints come with their changed cluster, newest or not, and then as
	// they are.
	missing := []string{"clusters b=2", "endpoints b=2", "clusters -c"}
	for len(missing) > 0 {
		got, resp := e.next()
		if i := slices.Index(missing, got); i >= 0 {
			missing = slices.Delete(missing, i, i+1)
		} else if got != "endpoints b=1" && got != "endpoints b=2" {
			t.Fatalf("envoy was told %q, missing %q", got, missing)
		}
		e.ack(resp)
	}
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if got := cp.node; !slices.Equal(got, []string{"default.web-1", "default.web-1"}) {
		t.Errorf("node was sent as %q, want once a stream", got)
	}
}

func TestEnvoyThatKeptItsSetIsSentNothing(t *testing.T) {
	cp := newCP(t)
	cp.set(clusters, "a=1", "b=2")
	cp.set(endpoints, "m1=m")
	g := newRig(t, cp)
	g.held(clusters, 2)
	e := g.envoy()
	e.send(&deltaRequest{TypeUrl: clusterType, InitialResourceVersions: map[string]string{"a": "1", "b": "1", "old": "1"}})
	e.take("clusters b=2 -old")
	g.hears("clusters", "sent a=1 b=2", "ACK")
	if s := g.Status().Kinds[clusters]; s.Accepted != 2 {
		t.Errorf("accepted %d, want 2: what Envoy has it accepted before", s.Accepted)
	}
}

// An agent that restarts knows nothing for a moment: the Envoy that outlived
// it must not be told that everything is gone.
func TestUnknownIsNotGone(t *testing.T) {
	cp := newCP(t)
	cp.stop()
	g := newRig(t, cp)
	e := g.envoy()
	e.send(&deltaRequest{TypeUrl: clusterType, InitialResourceVersions: map[string]string{"a": "1"}})
	e.send(&deltaRequest{TypeUrl: listenerType, InitialResourceVersions: map[string]string{"in": "1"}})
	cp.set(clusters, "a=1")
	cp.set(listeners, "in=2")
	cp.start(t)
	got := []string{}
	for range 2 {
		s, resp := e.next()
		got = append(got, s)
		e.ack(resp)
	}
	slices.Sort(got)
	if want := []string{"clusters", "listeners in=2"}; !slices.Equal(got, want) {
		t.Errorf("envoy was told %q, want %q", got, want)
	}
}

func TestNamesThatEnvoyAsksFor(t *testing.T) {
	cp := newCP(t)
	cp.set(endpoints, "a=1", "m1=m")
	g := newRig(t, cp)
	g.hears("clusters", "open [] claims []")
	if got := cp.heard("endpoints"); got != nil {
		t.Fatalf("endpoints were asked for ahead: %q", got)
	}
	e := g.envoy()
	e.ask(endpoints, "a")
	e.take("endpoints a=1")
	g.hears("endpoints", "open [a] claims []", "sent a=1", "ACK")
	e.send(&deltaRequest{TypeUrl: endpointType, ResourceNamesUnsubscribe: []string{"a"}})
	g.hears("endpoints", "ACK", "-a")
	cp.set(endpoints, "a=2")
	e.quiet("m1")
	e.ask(endpoints, "a") // wanted again: anew
	e.take("endpoints a=2")
	g.hears("endpoints", "sent a=2", "ACK")

	// Another Envoy, which wants less: the rest is given up once it has said
	// what it wants.
	e.close()
	cp.forget()
	e = g.envoy()
	e.ask(endpoints, "a")
	e.take("endpoints a=2")
	g.hears("endpoints", "-m1")
}

func TestNewestWinsWhileEnvoyIsSlow(t *testing.T) {
	cp := newCP(t)
	cp.set(endpoints, "a=0", "m1=m")
	g := newRig(t, cp)
	e := g.envoy()
	e.ask(endpoints, "a")
	first := e.want("endpoints a=0")
	// A control plane that does not wait for answers, in a storm.
	const storm = 10_000
	for n := 1; n <= storm; n++ {
		g.inject(endpointType, "a", fmt.Sprint(n))
	}
	e.ack(first)
	last := e.want(fmt.Sprintf("endpoints a=%d", storm))
	e.ack(last)
	e.quiet("m1")
}

// inject gives the relay a response as if the control plane had sent it.
func (g *rig) inject(url, name, version string) {
	g.inform(&deltaResponse{TypeUrl: url, Nonce: "x" + version, Resources: []*discoveryv3.Resource{
		{Name: name, Version: version, Resource: &anypb.Any{TypeUrl: url, Value: []byte(version)}}}})
}

func TestChangedClusterHasItsEndpointsAgain(t *testing.T) {
	cp := newCP(t)
	cp.set(clusters, "a=1", "b=1")
	cp.set(endpoints, "a=1", "b=1")
	g := newRig(t, cp)
	e := g.envoy()
	e.ask(clusters)
	e.take("clusters a=1 b=1")
	e.ask(endpoints, "a", "b")
	e.take("endpoints a=1 b=1")
	cp.set(clusters, "b=2")
	cds := e.want("clusters b=2")
	e.take("endpoints b=1")
	e.ack(cds)
}

func TestNewerEnvoyTakesOver(t *testing.T) {
	cp := newCP(t)
	cp.set(clusters, "a=1")
	g := newRig(t, cp)
	old := g.envoy()
	old.ask(clusters)
	old.take("clusters a=1")
	young := g.envoy()
	young.ask(clusters)
	young.take("clusters a=1")
	cp.set(clusters, "a=2")
	young.take("clusters a=2")
	select {
	case resp := <-old.in:
		t.Errorf("the replaced envoy was told %s", show(resp))
	case err := <-old.end:
		t.Fatalf("the replaced envoy was cut off: %v", err)
	default:
	}
	young.close()
	select {
	case err := <-old.end:
		if status.Code(err) != codes.Unavailable {
			t.Errorf("end of the replaced stream: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the replaced envoy was left without a stream")
	}
}

func TestNames(t *testing.T) {
	cp := newCP(t)
	cp.put(namesType, nameTable(t, "1", "api.mesh"))
	g := newRig(t, cp)
	want := []proxy.Name{{Name: "api.mesh", Addresses: []netip.Addr{netip.MustParseAddr("240.0.0.1"), netip.MustParseAddr("fd57:6566:7400::1")}}}
	if got := take(t, g.names); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("names %v, want %v", got, want)
	}
	g.hears("names", "sent names=1", "ACK")

	cp.put(namesType, &discoveryv3.Resource{Name: namesResource, Version: "2",
		Resource: mustAny(t, &hostv1.NameTable{Names: []*hostv1.Name{{Name: "x.mesh", Addresses: [][]byte{{1, 2, 3}}}}})})
	g.hears("names", "sent names=2", `NACK names: read table of names: "x.mesh" has an address of 3 bytes, not 4 or 16`)

	cp.put(namesType, nameTable(t, "3", "web.mesh"))
	if got := take(t, g.names); len(got) != 1 || got[0].Name != "web.mesh" {
		t.Errorf("names %v after a refused table, want web.mesh", got)
	}
	g.hears("names", "sent names=3", "ACK")
}

func nameTable(t *testing.T, version, name string) *discoveryv3.Resource {
	return &discoveryv3.Resource{Name: namesResource, Version: version, Resource: mustAny(t, &hostv1.NameTable{Names: []*hostv1.Name{
		{Name: name, Addresses: [][]byte{netip.MustParseAddr("240.0.0.1").AsSlice(), netip.MustParseAddr("fd57:6566:7400::1").AsSlice()}}}})}
}

func TestOnlyWhatEnvoyUsesIsServed(t *testing.T) {
	g := newRig(t, newCP(t))
	conn := g.connect()
	for _, method := range []string{
		"/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
		"/envoy.service.secret.v3.SecretDiscoveryService/FetchSecrets",
		"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
		"/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters",
	} {
		err := conn.Invoke(t.Context(), method, &discoveryv3.DiscoveryRequest{}, &discoveryv3.DiscoveryResponse{}, grpc.WaitForReady(true))
		if status.Code(err) != codes.Unimplemented {
			t.Errorf("%s: %v, want Unimplemented", method, err)
		}
	}
	e := g.envoy()
	for _, url := range []string{namesType, secretType, "type.googleapis.com/envoy.service.runtime.v3.Runtime"} {
		e.send(&deltaRequest{TypeUrl: url})
	}
	g.cp.set(clusters, "a=1")
	e.ask(clusters)
	e.take("clusters a=1") // and nothing before it
}

func TestStatusIsJSON(t *testing.T) {
	cp := newCP(t)
	cp.set(clusters, "a=1")
	g := newRig(t, cp)
	g.held(clusters, 1)
	e := g.envoy()
	e.ask(clusters)
	e.take("clusters a=1")
	g.hears("clusters", "ACK")
	b, err := json.Marshal(g.Status())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"controlPlane":{"connected":true,"since":"20`, `"envoy":{"connected":true,`, `{"kind":"clusters","version":"s","held":1,"accepted":1}`, `"synced":false`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("status %s lacks %s", b, want)
		}
	}
	cp.stop()
	cp.wait(t, "status to tell of the loss", func() bool {
		cp.tellSoon()
		s := g.Status().ControlPlane
		return !s.Connected && s.LastError != ""
	})
}

// tellSoon makes wait look again shortly.
func (cp *fakeCP) tellSoon() { time.AfterFunc(5*time.Millisecond, cp.tell) }

func TestRetryAfter(t *testing.T) {
	for range 100 {
		if d := retryAfter(0); d >= atOnce {
			t.Errorf("first retry after %v, want less than %v", d, atOnce)
		}
	}
	for tries, ms := range map[int]int{1: 100, 2: 200, 3: 400, 6: 3200, 8: 10000, 1000: 10000} {
		top := time.Duration(ms) * time.Millisecond
		for range 100 {
			if d := retryAfter(tries); d < top/2 || d > top {
				t.Fatalf("retry %d after %v, want %v to %v", tries, d, top/2, top)
			}
		}
	}
}

// TestTenThousandReturn has as many hosts lose their control plane at the same
// moment, and counts how they come back to it.
func TestTenThousandReturn(t *testing.T) {
	const hosts = 10_000
	for _, away := range []time.Duration{0, 5 * time.Second, time.Minute, time.Hour} {
		perSecond := map[int]int{}
		var last time.Duration
		for range hosts {
			at := retryAfter(0)
			for tries := 1; at < away; tries++ {
				at += retryAfter(tries)
			}
			perSecond[int((at-away)/time.Second)]++
			last = max(last, at-away)
		}
		peak := 0
		for _, n := range perSecond {
			peak = max(peak, n)
		}
		t.Logf("away for %s: all %d are back after %s, at most %d in a second", away, hosts, last.Round(time.Millisecond), peak)
		if last > lastWait || away >= time.Minute && peak > hosts/4 {
			t.Errorf("away for %s: all %d are back after %s, at most %d in a second", away, hosts, last, peak)
		}
	}
}

func TestConfigTellsAllFaults(t *testing.T) {
	err := New(Config{}).Run(t.Context())
	for _, want := range []string{"socket", "id", "dial", "secrets"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Run: %v, lacks %q", err, want)
		}
	}
}

func mustAny(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
