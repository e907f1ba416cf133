package relay

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/weft-mesh/weft/pkg/proxy"
)

const patience = time.Minute

// A changes lets tests wait for a condition without polling.
type changes struct {
	mu sync.Mutex
	ch chan struct{}
}

func (c *changes) changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ch == nil {
		c.ch = make(chan struct{})
	}
	return c.ch
}

func (c *changes) tell() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ch != nil {
		close(c.ch)
	}
	c.ch = make(chan struct{})
}

func (c *changes) wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		ch := c.changed()
		if ok() {
			return
		}
		select {
		case <-ch:
		case <-deadline:
			t.Fatalf("still waiting: %s", what)
		}
	}
}

// A fakeCP is a control plane whose resources are set by the test. As the real
// one it sends what differs, and waits for the answer before it sends more of
// that kind.
type fakeCP struct {
	changes
	mu   sync.Mutex
	res  map[string]map[string]*discoveryv3.Resource // by type URL
	log  []string                                    // what it heard and said, a line each
	node []string
	// greets has it answer first requests for everything even when nothing is
	// new, as the real one does.
	greets bool
	addr   string
	srv    *grpc.Server
}

func newCP(t *testing.T) *fakeCP {
	cp := &fakeCP{res: map[string]map[string]*discoveryv3.Resource{}, addr: "127.0.0.1:0"}
	for _, k := range kinds {
		cp.res[k.url] = map[string]*discoveryv3.Resource{}
	}
	cp.start(t)
	t.Cleanup(cp.stop)
	return cp
}

func (cp *fakeCP) start(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", cp.addr)
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(grpc.WaitForHandlers(true))
	srv.RegisterService(&grpc.ServiceDesc{
		ServiceName: adsService.ServiceName, HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{StreamName: "DeltaAggregatedResources", ServerStreams: true, ClientStreams: true,
			Handler: func(_ any, s grpc.ServerStream) error {
				return cp.serve(&grpc.GenericServerStream[deltaRequest, deltaResponse]{ServerStream: s})
			}}},
	}, cp)
	cp.mu.Lock()
	cp.addr, cp.srv = l.Addr().String(), srv
	cp.mu.Unlock()
	go func() { _ = srv.Serve(l) }() // until stop
}

func (cp *fakeCP) greet(on bool) {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	cp.greets = on
}

func (cp *fakeCP) stop() { cp.srv.Stop() }

func (cp *fakeCP) note(format string, args ...any) {
	cp.log = append(cp.log, fmt.Sprintf(format, args...))
}

// set stores resources of kind i, each "name=version"; "name" alone removes.
func (cp *fakeCP) set(i int, list ...string) {
	cp.mu.Lock()
	for _, s := range list {
		name, version, ok := strings.Cut(s, "=")
		if !ok {
			delete(cp.res[kinds[i].url], name)
			continue
		}
		cp.res[kinds[i].url][name] = &discoveryv3.Resource{Name: name, Version: version,
			Resource: &anypb.Any{TypeUrl: kinds[i].url, Value: []byte(s)}}
	}
	cp.mu.Unlock()
	cp.tell()
}

func (cp *fakeCP) put(url string, res *discoveryv3.Resource) {
	cp.mu.Lock()
	cp.res[url][res.Name] = res
	cp.mu.Unlock()
	cp.tell()
}

// heard returns the lines of the log from n on that are about kind.
func (cp *fakeCP) heard(kind string) []string {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	var lines []string
	for _, l := range cp.log {
		if rest, ok := strings.CutPrefix(l, kind+" "); ok {
			lines = append(lines, rest)
		}
	}
	return lines
}

func (cp *fakeCP) forget() {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	cp.log = nil
}

type cpWatch struct {
	all     bool
	subs    map[string]bool
	has     map[string]string
	waiting bool
	greeted bool
}

func (cp *fakeCP) serve(stream deltaStream) error {
	reqs, fail := receive(stream.Context(), stream)
	watches := map[string]*cpWatch{}
	nonce := 0
	for {
		changed := cp.changed()
		for _, k := range kinds {
			w := watches[k.url]
			if w == nil || w.waiting {
				continue
			}
			if resp := cp.diff(k, w); resp != nil {
				nonce++
				resp.Nonce = fmt.Sprint(nonce)
				w.waiting = true
				cp.tell()
				if err := stream.Send(resp); err != nil {
					return err
				}
			}
		}
		select {
		case err := <-fail:
			return err
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-changed:
		case req := <-reqs:
			cp.take(req, watches)
			cp.tell()
		}
	}
}

func (cp *fakeCP) take(req *deltaRequest, watches map[string]*cpWatch) {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if req.Node != nil {
		cp.node = append(cp.node, req.Node.Id)
	}
	kind := kinds[kindOf(req.TypeUrl)].name
	w := watches[req.TypeUrl]
	if w == nil {
		w = &cpWatch{all: len(req.ResourceNamesSubscribe) == 0, subs: map[string]bool{}, has: map[string]string{}}
		maps.Copy(w.has, req.InitialResourceVersions)
		watches[req.TypeUrl] = w
		var claims []string
		for _, n := range slices.Sorted(maps.Keys(w.has)) {
			claims = append(claims, n+"="+w.has[n])
		}
		cp.note("%s open [%s] claims [%s]", kind, strings.Join(req.ResourceNamesSubscribe, " "), strings.Join(claims, " "))
	} else {
		for _, n := range req.ResourceNamesSubscribe {
			cp.note("%s +%s", kind, n)
		}
		for _, n := range req.ResourceNamesUnsubscribe {
			cp.note("%s -%s", kind, n)
			delete(w.subs, n)
			delete(w.has, n)
		}
	}
	for _, n := range req.ResourceNamesSubscribe {
		w.subs[n] = true
	}
	if req.ResponseNonce != "" {
		w.waiting = false
		if e := req.ErrorDetail; e != nil {
			cp.note("%s NACK %s", kind, e.Message)
		} else {
			cp.note("%s ACK", kind)
		}
	}
}

func (cp *fakeCP) diff(k kind, w *cpWatch) *deltaResponse {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	resp := &deltaResponse{TypeUrl: k.url, SystemVersionInfo: "s"}
	var said []string
	for _, n := range slices.Sorted(maps.Keys(cp.res[k.url])) {
		res := cp.res[k.url][n]
		if (w.all || w.subs[n]) && w.has[n] != res.Version {
			resp.Resources = append(resp.Resources, res)
			said = append(said, n+"="+res.Version)
			w.has[n] = res.Version
		}
	}
	for _, n := range slices.Sorted(maps.Keys(w.has)) {
		if _, ok := cp.res[k.url][n]; !ok {
			resp.RemovedResources = append(resp.RemovedResources, n)
			said = append(said, n)
			delete(w.has, n)
		}
	}
	greet := cp.greets && w.all && !w.greeted
	w.greeted = true
	if len(said) == 0 {
		if greet {
			return resp
		}
		return nil
	}
	cp.note("%s sent %s", k.name, strings.Join(said, " "))
	return resp
}

// secretsFake is a host's identity set by the test.
type secretsFake struct {
	changes
	mu  sync.Mutex
	set SecretSet
}

func (s *secretsFake) Current() (SecretSet, <-chan struct{}) {
	ch := s.changed()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.set, ch
}

func (s *secretsFake) put(set SecretSet) {
	s.mu.Lock()
	s.set = set
	s.mu.Unlock()
	s.tell()
}

// A rig is a running relay between a fake control plane and the test.
type rig struct {
	*Relay
	t       *testing.T
	cp      *fakeCP
	secrets *secretsFake
	socket  string
	at      string // where it is dialed
	names   chan []proxy.Name
	stop    func()
}

var testID = proxy.ID{Mesh: "default", Name: "web-1"}

func newRig(t *testing.T, cp *fakeCP, change ...func(*Config)) *rig {
	t.Helper()
	g := &rig{t: t, cp: cp, secrets: &secretsFake{}, names: make(chan []proxy.Name, 100),
		socket: filepath.Join(t.TempDir(), "run", "xds.sock")}
	cfg := Config{
		Socket:  g.socket,
		ID:      testID,
		Secrets: g.secrets,
		Dial: func(_ context.Context, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
			cp.mu.Lock()
			defer cp.mu.Unlock()
			return grpc.NewClient("passthrough:///"+cp.addr, append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
		},
		OnNames: func(n []proxy.Name) { g.names <- n },
		Log:     slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(&cfg)
	}
	g.Relay = New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	g.at = "unix:" + g.socket
	run := g.Run
	if l := instead(t); l != nil {
		g.at = "passthrough:///" + l.Addr().String()
		run = func(ctx context.Context) error { return g.run(ctx, l) }
	}
	go func() { done <- run(ctx) }()
	g.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(g.stop)
	return g
}

// openTest opens a cache and returns what it logs.
func openTest(t *testing.T, dir string) (*cache, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	c, err := openCache(dir, testID.String(), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return c, &log
}

// instead is a TCP socket where there are no unix sockets to be had, as on the
// Windows that wine is; nil elsewhere.
func instead(t *testing.T) net.Listener {
	if runtime.GOOS != "windows" {
		return nil
	}
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err == nil {
		_ = l.Close()
		return nil
	}
	if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	return l
}

// inform hands the relay a response of the control plane.
func (g *rig) inform(resp *deltaResponse) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.take(resp)
}

// connect dials the relay's socket; it waits until that is there.
func (g *rig) connect() *grpc.ClientConn {
	g.t.Helper()
	conn, err := grpc.NewClient(g.at, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// An envoy is one ADS stream that the test drives by hand.
type envoy struct {
	t    *testing.T
	conn *grpc.ClientConn
	s    discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	in   chan *deltaResponse
	end  chan error
}

func (g *rig) envoy() *envoy {
	g.t.Helper()
	conn := g.connect()
	s, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(g.t.Context(), grpc.WaitForReady(true))
	if err != nil {
		g.t.Fatal(err)
	}
	e := &envoy{t: g.t, conn: conn, s: s, in: make(chan *deltaResponse, 1000), end: make(chan error, 1)}
	go func() {
		for {
			resp, err := s.Recv()
			if err != nil {
				e.end <- err
				return
			}
			e.in <- resp
		}
	}()
	return e
}

func (e *envoy) send(req *deltaRequest) {
	e.t.Helper()
	if err := e.s.Send(req); err != nil {
		e.t.Fatal(err)
	}
}

func (e *envoy) ask(i int, names ...string) {
	e.t.Helper()
	e.send(&deltaRequest{TypeUrl: kinds[i].url, ResourceNamesSubscribe: names})
}

// next returns the next response, as "kind name=version … -removed".
func (e *envoy) next() (string, *deltaResponse) {
	e.t.Helper()
	select {
	case resp := <-e.in:
		return show(resp), resp
	case err := <-e.end:
		e.t.Fatalf("stream ended: %v", err)
	case <-time.After(patience):
		e.t.Fatal("envoy hears nothing")
	}
	return "", nil
}

func (e *envoy) want(want string) *deltaResponse {
	e.t.Helper()
	got, resp := e.next()
	if got != want {
		e.t.Fatalf("envoy was told %q, want %q", got, want)
	}
	return resp
}

func (e *envoy) ack(resp *deltaResponse) {
	e.t.Helper()
	e.send(&deltaRequest{TypeUrl: resp.TypeUrl, ResponseNonce: resp.Nonce})
}

func (e *envoy) nack(resp *deltaResponse, words string) {
	e.t.Helper()
	e.send(&deltaRequest{TypeUrl: resp.TypeUrl, ResponseNonce: resp.Nonce, ErrorDetail: errorDetail(words)})
}

// take wants a response and accepts it.
func (e *envoy) take(want string) {
	e.t.Helper()
	e.ack(e.want(want))
}

// quiet wants nothing to come before the relay has answered a marker: a
// subscription that it answers at once.
func (e *envoy) quiet(marker string) {
	e.t.Helper()
	e.ask(endpoints, marker)
	e.take("endpoints " + marker + "=m")
}

func (e *envoy) close() {
	_ = e.conn.Close()
	select {
	case err := <-e.end:
		e.t.Logf("stream ended: %v", err)
	case <-time.After(patience):
		e.t.Fatal("stream does not end")
	}
}

func show(resp *deltaResponse) string {
	parts := []string{kinds[kindOf(resp.TypeUrl)].name}
	for _, r := range resp.Resources {
		parts = append(parts, r.Name+"="+r.Version)
	}
	for _, n := range resp.RemovedResources {
		parts = append(parts, "-"+n)
	}
	return strings.Join(parts, " ")
}

// hears waits until the control plane's log about kind ends as want.
func (g *rig) hears(kind string, want ...string) {
	g.t.Helper()
	var got []string
	deadline := time.After(patience)
	for {
		ch := g.cp.changed()
		got = g.cp.heard(kind)
		if len(got) >= len(want) && slices.Equal(got[len(got)-len(want):], want) {
			return
		}
		select {
		case <-ch:
		case <-deadline:
			g.t.Fatalf("control plane heard about %s:\n%s\nwant at the end:\n%s", kind, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// keeping has a rig keep what is accepted in dir, without the waits.
func keeping(dir string) func(*Config) {
	return func(c *Config) {
		c.CacheDir, c.saveAfter, c.proof = dir, time.Millisecond, time.Hour
		c.envoy = func(context.Context) string { return "" } // each stream is another
	}
}

func (g *rig) waitSynced() {
	g.t.Helper()
	select {
	case <-g.Synced():
	case <-time.After(patience):
		g.t.Fatalf("not synced: %+v", g.Status())
	}
}
