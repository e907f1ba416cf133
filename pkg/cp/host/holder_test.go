package host_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/cp/host"
	"github.com/weft-mesh/weft/pkg/cp/token"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// A box is a machine with what it joined by.
type box struct {
	w             *world
	machine, boot string
	cert          *tls.Certificate
}

func (b *box) ctx(t *testing.T) context.Context {
	return metadata.AppendToOutgoingContext(t.Context(), hostv1.MachineHeader, b.machine, hostv1.BootHeader, b.boot)
}

func (b *box) join(t *testing.T) error {
	t.Helper()
	key, csr := request(t)
	ctx := metadata.AppendToOutgoingContext(b.ctx(t), "authorization", b.w.token(t, token.Claims{}))
	resp, err := hostv1.NewHostClient(b.w.client(t, nil)).Join(ctx, &hostv1.JoinRequest{Dataplane: doc("default", "web-1", "web"), Csr: csr})
	if err == nil {
		b.cert = certificate(t, key, resp.GetCertificate())
	}
	return err
}

func (b *box) register(t *testing.T) error {
	t.Helper()
	_, csr := request(t)
	_, err := hostv1.NewHostClient(b.w.client(t, b.cert)).Register(b.ctx(t), &hostv1.RegisterRequest{Dataplane: doc("default", "web-1", "web"), Csr: csr})
	return err
}

// stream opens a stream that stays until end is called; err is why it could not.
func (b *box) stream(t *testing.T) (end func(), err error) {
	t.Helper()
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(b.ctx(t), "claim", "default.web-1", "stay", "yes"))
	t.Cleanup(cancel)
	s, err := b.w.client(t, b.cert).NewStream(ctx, &adsDesc.Streams[1], "/"+adsDesc.ServiceName+"/DeltaAggregatedResources")
	must(t, err)
	if err := s.RecvMsg(new(hostv1.LeaveResponse)); err != nil {
		return nil, err
	}
	return func() {
		before := b.w.auth.Seats()
		cancel()
		for deadline := time.Now().Add(time.Minute); b.w.auth.Seats() == before; {
			if time.Now().After(deadline) {
				t.Fatal("the control plane does not see that the stream ended")
			}
		}
	}, nil
}

// TestTwoHostsOfOneName shows who gets a name that two hosts want, by what
// they say of themselves.
func TestTwoHostsOfOneName(t *testing.T) {
	fresh := func(t *testing.T) (w *world, a *box) {
		w = newWorld(t)
		a = &box{w: w, machine: "m1", boot: "b1"}
		must(t, a.join(t))
		must(t, a.register(t))
		return w, a
	}
	connected := func(t *testing.T, b *box) (end func()) {
		t.Helper()
		end, err := b.stream(t)
		must(t, err)
		return end
	}
	t.Run("another host by the same token, while the first is there", func(t *testing.T) {
		w, a := fresh(t)
		connected(t, a)
		b := &box{w: w, machine: "m2", boot: "b2"}
		wantCode(t, b.join(t), codes.PermissionDenied, "another host's", "is connected from 127.0.0.1", "--name", "weftctl delete dataplane web-1 --mesh default")
		must(t, a.register(t))
	})
	t.Run("another host that had joined before the first was there", func(t *testing.T) {
		w, a := fresh(t)
		end := connected(t, a)
		end()
		w.pass(2 * time.Minute)
		b := &box{w: w, machine: "m2", boot: "b2"}
		must(t, b.join(t))
		connected(t, a)
		wantCode(t, b.register(t), codes.PermissionDenied, "is connected from")
		_, err := b.stream(t)
		wantCode(t, err, codes.PermissionDenied, "another host's")
		must(t, a.register(t))
	})
	t.Run("a new machine in place of one that is gone", func(t *testing.T) {
		w, a := fresh(t)
		connected(t, a)()
		b := &box{w: w, machine: "m2", boot: "b2"}
		wantCode(t, b.join(t), codes.PermissionDenied, "may come back", "weftctl delete dataplane")
		w.pass(2 * time.Minute)
		must(t, b.join(t))
		must(t, b.register(t))
		end := connected(t, b)
		wantCode(t, a.register(t), codes.PermissionDenied, "is connected from")
		end()
		w.pass(2 * time.Minute)
		wantCode(t, a.register(t), codes.PermissionDenied, "after this one") // the later joining counts
		_, err := a.stream(t)
		wantCode(t, err, codes.PermissionDenied, "another host joined")
	})
	t.Run("connected to another control plane", func(t *testing.T) {
		w, _ := fresh(t)
		there := true
		w.auth.Elsewhere = func(id proxy.ID) bool { return there && id == web1 }
		w.pass(24 * time.Hour)
		b := &box{w: w, machine: "m2", boot: "b2"}
		wantCode(t, b.join(t), codes.PermissionDenied, "may come back")
		there = false
		must(t, b.join(t))
		must(t, b.register(t))
	})
	t.Run("the same machine joins again", func(t *testing.T) {
		w, a := fresh(t)
		connected(t, a)()
		again := &box{w: w, machine: "m1", boot: "b1"}
		must(t, again.join(t))
		must(t, again.register(t))
		connected(t, again)
	})
	t.Run("restarted at once, and after a power cut", func(t *testing.T) {
		_, a := fresh(t)
		end := connected(t, a)
		connected(t, a)
		a.boot = "b2"
		wantCode(t, a.register(t), codes.PermissionDenied, "before it was restarted, which passes within 20s")
		_, err := a.stream(t)
		wantCode(t, err, codes.PermissionDenied, "passes within 20s")
		end()
		wantCode(t, a.register(t), codes.PermissionDenied, "passes within 20s") // the other half-open one
	})
	t.Run("a copy of the disk on another machine", func(t *testing.T) {
		w, a := fresh(t)
		end := connected(t, a)
		b := &box{w: w, machine: "m2", boot: "b2", cert: a.cert}
		wantCode(t, b.register(t), codes.PermissionDenied, "copy of this host's identity", "empty its state folder")
		_, err := b.stream(t)
		wantCode(t, err, codes.PermissionDenied, "copied from another machine", "empty its state folder")
		end()
		wantCode(t, b.register(t), codes.PermissionDenied, "copied from another machine")
		w.pass(2 * time.Minute) // moved, it seems
		must(t, b.register(t))
		connected(t, b)
		wantCode(t, a.register(t), codes.PermissionDenied, "copy of this host's identity")
		if !strings.Contains(w.log.String(), "host took over a dataplane") {
			t.Error("the log does not say so")
		}
	})
	t.Run("a copy that even has the machine's id", func(t *testing.T) {
		w, a := fresh(t)
		end := connected(t, a)
		b := &box{w: w, machine: "m1", boot: "b2", cert: a.cert}
		_, err := b.stream(t)
		wantCode(t, err, codes.PermissionDenied, "copy of this host's identity")
		if !strings.Contains(w.log.String(), "second host with one identity was refused") {
			t.Error("the log does not say so")
		}
		end()
		connected(t, b)
	})
}

func TestDeletedIsEvicted(t *testing.T) {
	w := newWorld(t)
	a := &box{w: w, machine: "m1", boot: "b1"}
	must(t, a.join(t))
	must(t, a.register(t))
	key := mesh.Key{Kind: "Dataplane", Mesh: "default", Name: "web-1"}
	must(t, w.store.Delete(t.Context(), key, 0))
	must(t, a.register(t)) // lost, say with a backup: the host brings it back
	e := host.Evictions{Store: w.store, Now: w.clock}
	must(t, e.Of(t.Context(), key))
	must(t, w.store.Delete(t.Context(), key, 0))
	wantCode(t, a.register(t), codes.Unauthenticated, "was deleted on", "weft-agent join")
	_, err := a.stream(t)
	wantCode(t, err, codes.Unauthenticated, "was deleted on")
	must(t, e.Of(t.Context(), key)) // there is none any more

	again := &box{w: w, machine: "m1", boot: "b1"}
	must(t, again.join(t))
	must(t, again.register(t))
	wantCode(t, a.register(t), codes.Unauthenticated, "was deleted on")

	for n := range 3 { // the list forgets
		w.pass(20 * 24 * time.Hour)
		must(t, e.Of(t.Context(), key))
		r, err := w.store.Get(t.Context(), host.EvictionsKey("default"))
		must(t, err)
		if lines := strings.Count(string(r.Spec.(*mesh.Secret).Data), "\n"); lines > 2 || n > 0 && lines != 1 {
			t.Errorf("round %d: %d lines", n, lines)
		}
	}
}

// TestTokenForOneJoining has fifty hosts join at once with one token.
func TestTokenForOneJoining(t *testing.T) {
	w := newWorld(t)
	raw := w.token(t, token.Claims{Once: true})
	const hosts = 50
	errs := make([]error, hosts)
	var wg sync.WaitGroup
	for n := range hosts {
		client := hostv1.NewHostClient(w.client(t, nil))
		_, csr := request(t)
		wg.Go(func() {
			ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", raw)
			req := &hostv1.JoinRequest{Dataplane: doc("default", fmt.Sprintf("web-%d", n), "web"), Csr: csr}
			if _, errs[n] = client.Join(ctx, req); errs[n] == nil {
				_, err := client.Join(ctx, req) // as if the answer had been lost
				must(t, err)
			}
		})
	}
	wg.Wait()
	let := 0
	for _, err := range errs {
		if err == nil {
			let++
			continue
		}
		wantCode(t, err, codes.Unauthenticated, "good for one joining, and has been used")
	}
	if let != 1 {
		t.Errorf("%d of %d joined", let, hosts)
	}
	wantCode(t, w.stream(t, w.client(t, nil), raw, "default.web-1"), codes.PermissionDenied, "for one joining")
	t.Logf("F23: seed none, joins at once by a token for one %d, let in %d", hosts, let)

	w.pass(3 * time.Hour) // the next one forgets it
	_, err := w.join(t, w.token(t, token.Claims{Once: true}), doc("default", "late", "web"))
	must(t, err)
	page, err := w.store.List(t.Context(), secretsNamed("dataplane-token-spent-"))
	must(t, err)
	if len(page.Items) != 1 {
		t.Errorf("%d spent tokens are remembered, want 1", len(page.Items))
	}
}

// TestHostsAreToldOfControlPlanes looks at the headers of answers.
func TestHostsAreToldOfControlPlanes(t *testing.T) {
	w := newWorld(t)
	w.auth.ControlPlanes = func() []string { return []string{"cp1.example.com:5678", "192.0.2.7:5678"} }
	agent := w.agent(t, w.token(t, token.Claims{}), doc("default", "web-1", "web"))
	_, csr := request(t)
	var got metadata.MD
	_, err := hostv1.NewHostClient(w.client(t, agent)).Register(t.Context(),
		&hostv1.RegisterRequest{Dataplane: doc("default", "web-1", "web"), Csr: csr}, grpc.Header(&got))
	must(t, err)
	if list := fmt.Sprint(got.Get(hostv1.ControlPlanesHeader)); list != "[cp1.example.com:5678 192.0.2.7:5678]" {
		t.Errorf("told %s", list)
	}
	got = nil
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", w.token(t, token.Claims{}))
	if _, err := hostv1.NewHostClient(w.client(t, nil)).Join(ctx, &hostv1.JoinRequest{}, grpc.Header(&got)); err == nil || len(got.Get(hostv1.ControlPlanesHeader)) > 0 {
		t.Errorf("a stranger was told %v, error %v", got, err)
	}
}
