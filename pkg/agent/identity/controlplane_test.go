package identity

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/ca"
	"github.com/weft-mesh/weft/pkg/cp/token"
)

// told is what a host is told of the control plane, and whether it has answered.
func (w *world) told(t *testing.T, i *Identity) (answered func() bool) {
	t.Helper()
	n := 0
	must(t, i.TakeControlPlane(w.own.Authorities(), w.own.Fingerprint(), 0, func() { n++ }))
	return func() bool { return n == 1 }
}

func (w *world) advanceOwn(t *testing.T, want ca.Stage) {
	t.Helper()
	must(t, w.own.Report(t.Context(), "a", ca.Report{At: w.clock(), Stage: w.own.Rotates()}))
	w.pass(2 * time.Second)
	to, why, err := w.own.Advance(t.Context(), 0)
	must(t, err)
	if to != want {
		t.Fatalf("the rotation went to %q and not to %q: %s", to, want, why)
	}
	_, err = w.own.Refresh(t.Context())
	must(t, err)
}

// TestControlPlaneExchangesItsAuthority walks a host through it, with a restart
// in each stage, and beside it one that hears of nothing.
func TestControlPlaneExchangesItsAuthority(t *testing.T) {
	w := newWorld(t)
	o := w.options(t, token.Claims{})
	i, dir := w.joinedBy(t, o), o.Dir
	o.Dir, o.Dataplane = t.TempDir(), doc("default", "web-2", "web")
	must(t, os.Chmod(o.Dir, 0o700))
	deaf := w.joinedBy(t, o)
	later := w.options(t, token.Claims{}) // a token of before
	later.Dataplane = doc("default", "web-3", "web")
	web := doc("default", "web-1", "web")
	must(t, register(t, i, web))
	if !w.told(t, i)() {
		t.Error("what is so already was not answered")
	}
	first := w.own.Fingerprint()

	must(t, w.own.BeginRotation(t.Context(), ca.Options{Wait: time.Second, Patience: time.Hour}))
	_, err := w.own.Refresh(t.Context())
	must(t, err)
	if !w.told(t, i)() {
		t.Error("the other authority was not taken")
	}
	if s := i.Status(); len(s.Authorities) != 2 || s.Authority != first {
		t.Errorf("status has authorities %q, of which %q has signed", s.Authorities, s.Authority)
	}
	i = w.open(t, dir)
	must(t, register(t, i, web))

	w.advanceOwn(t, ca.Renew)
	i = w.open(t, dir)
	answered := w.told(t, i)
	if at, ok := i.due(); answered() || i.Status().Authority != first {
		t.Errorf("answered before there was a certificate: due %s, %t", at, ok)
	}
	must(t, register(t, i, web))
	if !answered() || i.Status().Authority != w.own.Fingerprint() {
		t.Errorf("answered %t; the certificate is of %q", answered(), i.Status().Authority)
	}
	must(t, register(t, w.joinedBy(t, later), later.Dataplane))

	w.advanceOwn(t, "done")
	i = w.open(t, dir)
	if !w.told(t, i)() || len(i.Status().Authorities) != 1 {
		t.Errorf("authorities are %q", i.Status().Authorities)
	}
	i = w.open(t, dir)
	must(t, register(t, i, web))
	if err := register(t, deaf, o.Dataplane); err == nil || strings.Contains(err.Error(), "another host") {
		t.Errorf("who has a certificate of the old authority: %v", err)
	}
	if err := i.TakeControlPlane(w.own.Authorities(), first, 0, func() {}); err == nil {
		t.Error("an authority that signs and is not to be believed was taken")
	}
}

func (w *world) joinedBy(t *testing.T, o JoinOptions) *Identity {
	t.Helper()
	join(t, o)
	return w.open(t, o.Dir)
}

// TestLook has a host look for another control plane than its own.
func TestLook(t *testing.T) {
	w := newWorld(t)
	i := w.joined(t, token.Claims{})
	const nobody = "127.0.0.1:1"
	for _, test := range []struct {
		name  string
		known []string
		last  string
		sees  bool
		want  string // the address that is tried first then; "": none was found
	}{
		{"another one sees", []string{nobody, w.address}, nobody, true, w.address},
		{"another one does not", []string{nobody, w.address}, nobody, false, ""},
		{"nobody answers", []string{nobody, w.address}, w.address, true, ""},
		{"there is no other one", []string{w.address}, w.address, true, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.sees.Store(test.sees)
			i.mu.Lock()
			i.Addresses, i.last = test.known, test.last
			i.mu.Unlock()
			if found := i.Look(t.Context(), time.Millisecond); found != (test.want != "") {
				t.Errorf("found one: %t", found)
			}
			order := i.order()
			if len(order) != len(test.known) || test.want != "" && order[0] != test.want {
				t.Errorf("then tries %q", order)
			}
			if test.want != "" && slices.Index(order, test.last) != len(order)-1 {
				t.Errorf("the one that was left is tried before others: %q", order)
			}
		})
	}
}
