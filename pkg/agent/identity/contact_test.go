package identity

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/internal/testtime"
	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/host"
	"github.com/weft-mesh/weft/pkg/cp/token"
	"github.com/weft-mesh/weft/pkg/keyfile"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// TestGrace goes through an outage that is longer than certificates live.
func TestGrace(t *testing.T) {
	day := 24 * time.Hour
	accepts := func(i *Identity) bool {
		i.look() // as Run does
		s, _ := i.Current()
		return s.AcceptExpired
	}
	t.Run("grace", func(t *testing.T) {
		w := newWorld(t)
		i := w.joined(t, token.Claims{})
		must(t, register(t, i, doc("default", "web-1", "web")))
		first, changed := i.Current()
		i.met()
		w.pass(4 * day)
		if accepts(i) {
			t.Error("accepts expired certificates while a control plane is there")
		}
		i.parted()
		w.pass(2 * day)
		if accepts(i) {
			t.Error("accepts expired certificates after two days, when none can have expired")
		}
		w.pass(day)
		if !accepts(i) {
			t.Error("refuses expired certificates after three days without a control plane")
		}
		select {
		case <-changed:
		default:
			t.Error("nobody was told")
		}
		s, changed := i.Current()
		if s.Version == first.Version || string(s.Certificate) != string(first.Certificate) {
			t.Errorf("secrets %s after %s", s, first)
		}
		st := i.Status()
		if !st.Grace || st.FailClosed || st.GraceUntil.Before(w.clock().Add(9*365*day)) || !strings.Contains(w.log.String(), "grace began") {
			t.Errorf("status %+v\n%s", st, w.log)
		}
		// A restart in the outage goes on from there, one before it does not begin it.
		if again := w.open(t, i.files.dir); !accepts(again) {
			t.Error("a restart forgot for how long no control plane was heard")
		}
		i.met()
		select {
		case <-changed:
		default:
			t.Error("nobody was told of the end")
		}
		if accepts(i) || !strings.Contains(w.log.String(), "grace ended") {
			t.Error("grace outlives the outage")
		}
		i.parted()
		w.pass(20 * 365 * day) // the authority itself has expired
		if accepts(i) {
			t.Error("grace outlives the authority")
		}
	})
	t.Run("a restart in a short outage", func(t *testing.T) {
		w := newWorld(t)
		i := w.joined(t, token.Claims{})
		must(t, register(t, i, doc("default", "web-1", "web")))
		i.met()
		w.pass(3*day + 12*time.Hour) // connected all the while
		i.look()
		i.noteContact()
		again := w.open(t, i.files.dir)
		if accepts(again) {
			t.Error("the age of the certificate was taken for an outage")
		}
		must(t, os.Remove(i.contactFile()))
		if again = w.open(t, i.files.dir); !accepts(again) {
			t.Error("without a note the certificate's age is all that there is")
		}
		must(t, keyfile.Write(i.contactFile(), []byte("2199-01-01T00:00:00Z\n")))
		again = w.open(t, i.files.dir)
		again.look()
		if at := again.contact.at; at.After(w.clock()) {
			t.Errorf("heard in the future: %s", at)
		}
	})
	t.Run("fail closed", func(t *testing.T) {
		w := newWorld(t)
		w.setMesh(t, func(m *mesh.MeshSpec) { m.MTLS.Backends[0].DpCert = &mesh.DpCert{WithoutControlPlane: mesh.FailClosed} })
		i := w.joined(t, token.Claims{})
		must(t, register(t, i, doc("default", "web-1", "web")))
		w.pass(20 * day)
		for _, i := range []*Identity{i, w.open(t, i.files.dir)} {
			if s := i.Status(); accepts(i) || !s.FailClosed || !s.GraceFrom.IsZero() {
				t.Errorf("status %+v", s)
			}
		}
	})
}

func (w *world) setMesh(t *testing.T, change func(*mesh.MeshSpec)) {
	t.Helper()
	r, err := w.store.Get(t.Context(), mesh.Key{Kind: mesh.MeshKind.Name, Name: "default"})
	must(t, err)
	spec := *r.Spec.(*mesh.MeshSpec)
	mtls := *spec.MTLS
	mtls.Backends = slices.Clone(mtls.Backends)
	spec.MTLS = &mtls
	change(&spec)
	r.Spec = &spec
	_, err = w.store.Put(t.Context(), r)
	must(t, err)
}

// ads is a control plane's stream that says one thing, or refuses.
func ads(answer func() error) grpc.ServiceDesc {
	return grpc.ServiceDesc{
		ServiceName: "envoy.service.discovery.v3.AggregatedDiscoveryService", HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{StreamName: "DeltaAggregatedResources", ServerStreams: true, ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
			if err := answer(); err != nil {
				return err
			}
			if err := s.SendMsg(new(emptyMessage)); err != nil {
				return err
			}
			<-s.Context().Done()
			return nil
		}}},
	}
}

// more is a further control plane of the same world.
func (w *world) more(t *testing.T, l net.Listener, answer func() error, peers ...string) *grpc.Server {
	t.Helper()
	auth := &host.Auth{Sources: host.Sources{Store: w.store, Tokens: w.tokens}, Now: w.clock, Log: w.logger(), ControlPlanes: func() []string { return peers }}
	s := grpc.NewServer(auth.ServerOptions(credentials.NewTLS(host.TLSConfig(w.own, w.clock)))...)
	host.Mount(s, &host.Service{Auth: auth, Decode: api.DecodeAs, Put: w.store.Put, Delete: w.store.Delete, Own: w.own, Meshes: w.meshes, Log: w.logger()})
	desc := ads(answer)
	s.RegisterService(&desc, nil)
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return s
}

func stream(t *testing.T, i *Identity) (grpc.ClientStream, *grpc.ClientConn, error) {
	t.Helper()
	conn, err := i.Dial(t.Context())
	must(t, err)
	desc := ads(nil)
	s, err := conn.NewStream(t.Context(), &desc.Streams[0], "/"+desc.ServiceName+"/DeltaAggregatedResources")
	if err == nil {
		err = s.RecvMsg(new(emptyMessage))
	}
	return s, conn, err
}

// TestFailover has a host learn of three control planes, and loses one after
// another. An address where nobody ever answers is among them.
func TestFailover(t *testing.T) {
	w := newWorld(t)
	var listeners []net.Listener
	var addresses []string
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		listeners, addresses = append(listeners, l), append(addresses, l.Addr().String())
	}
	mute, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	must(t, err)
	defer mute.Close()
	told := append(slices.Clone(addresses), mute.Addr().String())
	servers := map[string]*grpc.Server{}
	for n, l := range listeners {
		servers[addresses[n]] = w.more(t, l, func() error { return nil }, told...)
	}

	i := w.joined(t, token.Claims{})
	i.Addresses = addresses[:1]
	must(t, register(t, i, doc("default", "web-1", "web")))
	if got := i.Status().ControlPlanes; len(got) != 4 {
		t.Fatalf("learned %q", got)
	}
	if again := w.open(t, i.files.dir); len(again.Status().ControlPlanes) != 5 { // and the world's own
		t.Errorf("after a restart: %q", again.Status().ControlPlanes)
	}
	for range 2 {
		s, conn, err := stream(t, i)
		must(t, err)
		now := i.last
		if i.contact.open != 1 {
			t.Errorf("%d streams are known", i.contact.open)
		}
		servers[now].Stop()
		if err := s.RecvMsg(new(emptyMessage)); err == nil {
			t.Error("the stream outlives its server")
		}
		must(t, conn.Close())
		watch := testtime.Start(t)
		s, conn, err = stream(t, i)
		must(t, err)
		took := watch.Took()
		t.Logf("from %s to %s in %s", now, i.last, took.Round(time.Millisecond))
		if took > 3*time.Second || i.last == now { // whoever is mute has five
			t.Errorf("from %s to %s took %s", now, i.last, took)
		}
		must(t, conn.Close())
		if err := s.RecvMsg(new(emptyMessage)); err == nil || i.contact.open != 0 {
			t.Errorf("error %v, %d streams are known", err, i.contact.open)
		}
	}
}

// The hosts of a control plane that has gone spread over the others.
func TestOrderIsByChance(t *testing.T) {
	first := map[string]int{}
	for range 3000 {
		i := &Identity{learned: []string{"a:1", "b:1", "c:1", "d:1"}, Addresses: []string{"old:1", "a:1"}, last: "b:1"}
		o := i.order()
		if len(o) != 5 || o[4] != "b:1" || o[3] != "old:1" {
			t.Fatalf("order %q", o)
		}
		first[o[0]]++
	}
	for _, a := range []string{"a:1", "c:1", "d:1"} {
		if n := first[a]; n < 850 || n > 1150 {
			t.Errorf("%s is first for %d of 3000", a, n)
		}
	}
}

func TestLearnRefusesNonsense(t *testing.T) {
	w := newWorld(t)
	i := w.joined(t, token.Claims{})
	i.Learn(nil)
	i.Learn([]string{"nonsense", ":1", "host:", strings.Repeat("x", 400) + ":1"})
	if len(i.learned) != 0 {
		t.Errorf("learned %q", i.learned)
	}
	var many []string
	for n := range 1000 {
		many = append(many, fmt.Sprintf("192.0.2.1:%d", n+1))
	}
	i.Learn(many)
	if len(i.learned) != maxLearned {
		t.Errorf("learned %d", len(i.learned))
	}
}

// A Dataplane that was lost is registered again as soon as a stream says so.
func TestLostIsRegisteredAgain(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	key := mesh.Key{Kind: "Dataplane", Mesh: "default", Name: "web-1"}
	w.more(t, l, func() error {
		if _, err := w.store.Get(context.Background(), key); err != nil {
			return status.Error(codes.NotFound, "not registered")
		}
		return nil
	})
	i := w.joined(t, token.Claims{})
	i.Addresses = []string{l.Addr().String()}
	must(t, register(t, i, doc("default", "web-1", "web")))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- i.Run(ctx) }()
	must(t, w.store.Delete(t.Context(), key, 0))
	_, conn, err := stream(t, i)
	if status.Code(err) != codes.NotFound {
		t.Fatalf("error %v", err)
	}
	must(t, conn.Close())
	for tick, late := time.NewTicker(10*time.Millisecond), time.After(testtime.Wait); ; {
		_, conn, err = stream(t, i)
		must(t, conn.Close())
		if err == nil {
			break
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not registered again: %v", err)
		}
	}
	cancel()
	must(t, <-done)
}

// TestExpiredJoinsAgain has a host come back by itself that was off for long.
func TestExpiredJoinsAgain(t *testing.T) {
	w := newWorld(t)
	i := w.joined(t, token.Claims{})
	must(t, register(t, i, doc("default", "web-1", "web")))
	w.pass(90 * 24 * time.Hour)
	i.TokenFile = filepath.Join(t.TempDir(), "join-token")
	write := func(claims token.Claims, mode os.FileMode) {
		o := w.options(t, claims)
		word := api.JoinToken{Addresses: o.Addresses, Authority: o.Authority, Token: o.Token, Mesh: "default"}.String()
		must(t, os.RemoveAll(i.TokenFile))
		must(t, os.WriteFile(i.TokenFile, []byte(word+"\n"), mode))
	}
	for _, tt := range []struct {
		name  string
		write func()
		words string
	}{
		{"no file", func() {}, "read the join token"},
		{"readable by all", func() { write(token.Claims{}, 0o644) }, "chmod 600"},
		{"of another name", func() { write(token.Claims{Name: "db-1"}, 0o600) }, `allows "db-1" only`},
		{"not a join token", func() { must(t, os.WriteFile(i.TokenFile, []byte("x"), 0o600)) }, "weftctl join-token"},
	} {
		if tt.words == "chmod 600" && runtime.GOOS == "windows" {
			continue // which has no modes
		}
		tt.write()
		if err := i.again(t.Context()); err == nil || !strings.Contains(err.Error(), tt.words) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	write(token.Claims{Once: true}, 0o600)
	must(t, i.again(t.Context()))
	if s := i.Status(); s.Agent.Expired || s.Workload.Expired {
		t.Errorf("status %+v", s)
	}
	must(t, register(t, w.open(t, i.files.dir), doc("default", "web-1", "web")))
}

// TestClockIsSet moves the clock as nobody should.
func TestClockIsSet(t *testing.T) {
	w := newWorld(t)
	i := w.joined(t, token.Claims{})
	must(t, register(t, i, doc("default", "web-1", "web")))
	due := func() time.Duration {
		at, _ := i.due()
		return at.Sub(w.clock())
	}
	first := due()
	skew := time.Duration(0)
	i.Now = func() time.Time { return w.clock().Add(skew) }

	skew = -time.Hour // nothing is due sooner, so nothing is asked for
	if at, _ := i.due(); at.Sub(i.now()) < first {
		t.Errorf("an hour back the next renewal is due in %s", at.Sub(i.now()))
	}
	if s, _ := i.Current(); s.Version == "" {
		t.Error("the certificate is gone")
	}
	skew = -4 * time.Minute // within what certificates are dated back
	must(t, register(t, i, doc("default", "web-1", "web")))

	skew = 10 * 365 * 24 * time.Hour
	_, err := i.Dial(t.Context())
	if !errors.Is(err, ErrExpired) || !strings.Contains(err.Error(), "unless this host's clock is wrong") {
		t.Errorf("ten years on: %v", err)
	}
	i.look()
	if s, _ := i.Current(); s.AcceptExpired {
		t.Error("a clock that is ten years on accepts expired certificates though the authority has expired, too")
	}
	skew = 0 // set right again, all is well without a restart
	must(t, register(t, i, doc("default", "web-1", "web")))
	if s := i.Status(); s.Agent.Expired || s.LastError != "" {
		t.Errorf("status %+v", s)
	}
}

// Clocks of hosts may be behind by as much as certificates are dated back.
func TestCertificatesAreDatedBack(t *testing.T) {
	w := newWorld(t)
	i := w.joined(t, token.Claims{})
	must(t, register(t, i, doc("default", "web-1", "web")))
	for name, c := range map[string]*x509.Certificate{"agent": i.agent.leaf, "workload": i.workload.leaf} {
		if back := w.clock().Sub(c.NotBefore); back < 5*time.Minute {
			t.Errorf("%s: dated back by %s", name, back)
		}
	}
}
