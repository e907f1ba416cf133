package identity

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/ca"
	"github.com/weft-mesh/weft/pkg/cp/token"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// bundle is what the control plane tells hosts of the mesh "default" now.
func (w *world) bundle(t *testing.T) ca.Bundle {
	t.Helper()
	r, err := w.store.Get(t.Context(), mesh.Key{Kind: mesh.MeshKind.Name, Name: "default"})
	must(t, err)
	b, err := w.meshes.Bundle(t.Context(), "default", r.Spec.(*mesh.MeshSpec))
	must(t, err)
	return b
}

func (w *world) advance(t *testing.T, want ca.Stage) {
	t.Helper()
	w.now = w.now.Add(time.Second)
	if to, why, err := w.meshes.Advance(t.Context(), "default", "ca-1", 1); err != nil || to != want {
		t.Fatalf("stage %q (%s), %v; want %q", to, why, err, want)
	}
}

func TestAuthorityIsExchanged(t *testing.T) {
	w := newWorld(t)
	i := w.joined(t, token.Claims{Name: "web-1"})
	must(t, register(t, i, doc("default", "web-1", "web")))
	old := w.bundle(t)
	must(t, i.Trust(old.Roots))
	before, changed := i.Current()
	select {
	case <-changed:
		t.Error("the same roots count as a change")
	default:
	}
	if err := i.Trust([]byte("nonsense")); err == nil {
		t.Error("nonsense was taken for roots")
	}
	done := 0
	i.IssueBy(old.Issuer, time.Hour, func() { done++ })
	if at, _ := i.due(); done != 1 || at.Before(w.now.Add(time.Hour)) {
		t.Errorf("asked for what is there: done %d, due %s", done, at)
	}

	must(t, w.meshes.BeginRotation(t.Context(), "default", ca.Options{Wait: time.Nanosecond, Patience: time.Nanosecond}))
	must(t, i.Trust(w.bundle(t).Roots))
	<-changed
	if now, _ := i.Current(); now.Version == before.Version || string(now.Certificate) != string(before.Certificate) {
		t.Errorf("both roots: %v", now)
	}
	if got := i.Status(); len(got.Roots) != 2 || got.Workload.Issuer != old.Issuer {
		t.Errorf("status: roots %q, issuer %s", got.Roots, got.Workload.Issuer)
	}
	if again := w.open(t, i.files.dir); len(again.Status().Roots) != 2 {
		t.Error("after a restart the new root is gone")
	}

	w.advance(t, ca.Renew)
	next := w.bundle(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- i.Run(ctx) }()
	renewed := make(chan struct{})
	i.IssueBy(old.Issuer, time.Hour, func() {})
	i.IssueBy(next.Issuer, time.Nanosecond, func() { close(renewed) })
	select {
	case <-renewed:
	case <-time.After(time.Minute):
		t.Fatal("no certificate of the new authority")
	}
	stop()
	must(t, <-ended)
	if got := i.Status(); got.Workload.Issuer != next.Issuer || len(got.Roots) != 2 {
		t.Errorf("status: roots %q, issuer %s, want %s", got.Roots, got.Workload.Issuer, next.Issuer)
	}

	w.advance(t, ca.Retire)
	must(t, i.Trust(w.bundle(t).Roots))
	if got := i.Status(); len(got.Roots) != 1 || got.Roots[0] != next.Issuer {
		t.Errorf("status: roots %q", got.Roots)
	}
}

func TestTrustWithoutCertificate(t *testing.T) {
	w := newWorld(t)
	i := w.joined(t, token.Claims{Name: "web-1"})
	must(t, i.Trust(w.bundle(t).Roots))
	called := errors.New("not called")
	i.IssueBy("ab", time.Hour, func() { called = nil })
	must(t, called)
	if now, _ := i.Current(); now.Version != "" {
		t.Errorf("secrets without a certificate: %v", now)
	}
}
