package trust

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/cp/ca"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/memory"
	"github.com/weft-mesh/weft/pkg/cp/xds"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// A fakeStream is a control plane's hosts: those of its mesh do at once what
// they are told, but for the ones that sulk.
type fakeStream struct {
	mu    sync.Mutex
	hosts int
	sulks int
	told  []string // number of roots and who signs, one line a change
	own   []string // the same of the control plane's own authority
	cps   []string // where control planes are, as it was told last
}

func (f *fakeStream) PublishTrust(name string, t *hostv1.Trust, i *hostv1.Issuer) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = append(f.told, fmt.Sprintf("%s: %d roots, %.8s", name, strings.Count(string(t.GetRoots()), "BEGIN"), i.GetAuthority()))
	return nil
}

func (f *fakeStream) Taken(_, _ string) (agents, taken int, lacking []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n := range f.sulks {
		lacking = append(lacking, fmt.Sprintf("web-%d", n))
	}
	return f.hosts, f.hosts - f.sulks, lacking
}

func (f *fakeStream) PublishControlPlane(c *hostv1.ControlPlane) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cps = c.GetAddresses()
	f.own = append(f.own, fmt.Sprintf("%d authorities, %.8s", strings.Count(string(c.GetAuthorities()), "BEGIN"), c.GetIssuer()))
	return nil
}

func (f *fakeStream) TakenControlPlane() (agents, taken int, lacking []string) {
	return f.Taken("", "")
}

func (f *fakeStream) ofOwn() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.own, "\n")
}

func (f *fakeStream) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.told, "\n")
}

func (f *fakeStream) sulk(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sulks = n
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); !is(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// TestReplicasLeadARotation has two replicas with a host each walk one rotation.
func TestReplicasLeadARotation(t *testing.T) {
	s := memory.New()
	spec := &mesh.MeshSpec{MTLS: &mesh.MTLS{EnabledBackend: "ca-1", Backends: []mesh.MTLSBackend{{Name: "ca-1", Type: ca.Builtin}}}}
	if _, err := s.Put(t.Context(), mesh.Resource{Kind: mesh.MeshKind, Meta: mesh.Meta{Name: "default"}, Spec: spec}); err != nil {
		t.Fatal(err)
	}
	meshes := &ca.Meshes{Store: s}
	if err := meshes.Ensure(t.Context(), "default", spec); err != nil {
		t.Fatal(err)
	}
	old, err := meshes.Bundle(t.Context(), "default", spec)
	if err != nil {
		t.Fatal(err)
	}
	streams := []*fakeStream{{hosts: 1}, {hosts: 1, sulks: 1}}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for n, stream := range streams {
		k := &Keeper{
			Store: s, Meshes: &ca.Meshes{Store: s}, Stream: stream, Registered: func(string) int { return 2 },
			Replica: fmt.Sprint(n), Every: 10 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
		}
		running.Go(func() {
			if err := k.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	defer running.Wait()
	defer stop()
	first := fmt.Sprintf("default: 1 roots, %.8s", old.Issuer)
	for _, f := range streams {
		eventually(t, "hosts are told whom to trust", func() bool { return f.String() == first })
	}
	if err := meshes.BeginRotation(t.Context(), "default", ca.Options{Wait: time.Millisecond, Patience: time.Hour}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both replicas have reported, and one of its hosts lacks the root", func() bool {
		st, err := meshes.Status(t.Context(), "default", 2)
		return err == nil && st.Rotation != nil && st.Rotation.Replicas == 2 && st.Rotation.Ready == 1 && st.Rotation.Stage == string(ca.Spread)
	})
	streams[1].sulk(0)
	eventually(t, "the rotation is over", func() bool {
		_, _, err := meshes.Rotation(t.Context(), "default", "ca-1")
		return err != nil
	})
	now, err := meshes.Bundle(t.Context(), "default", spec)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		first, fmt.Sprintf("default: 2 roots, %.8s", old.Issuer), fmt.Sprintf("default: 2 roots, %.8s", now.Issuer), fmt.Sprintf("default: 1 roots, %.8s", now.Issuer),
	}
	for _, f := range streams {
		eventually(t, "hosts are told of every stage", func() bool { return slices.Equal(strings.Split(f.String(), "\n"), want) })

	}
	if err := s.Delete(t.Context(), mesh.Key{Kind: mesh.MeshKind.Name, Name: "default"}, 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "hosts of a mesh that is gone are told nothing", func() bool { return strings.HasSuffix(streams[0].String(), "default: 0 roots, ") })
}

// TestOldAuthorityRotates has a keeper find an authority that has lived for two
// thirds of its life, and a young one beside it: the old one is exchanged, and
// nobody asked for it.
func TestOldAuthorityRotates(t *testing.T) {
	s := memory.New()
	now := time.Now()
	bundle := func(name string) string {
		page, err := s.Get(t.Context(), mesh.Key{Kind: mesh.MeshKind.Name, Name: name})
		if err != nil {
			t.Fatal(err)
		}
		b, err := (&ca.Meshes{Store: s}).Bundle(t.Context(), name, page.Spec.(*mesh.MeshSpec))
		if err != nil {
			t.Fatal(err)
		}
		return b.Issuer
	}
	first := map[string]string{}
	for name, days := range map[string]int{"old": 7, "young": 5} {
		spec := &mesh.MeshSpec{MTLS: &mesh.MTLS{EnabledBackend: "ca-1", Backends: []mesh.MTLSBackend{{
			Name: "ca-1", Type: ca.Builtin, Conf: &mesh.BackendConf{CACert: &mesh.BuiltinCACert{Expiration: "9d"}},
		}}}}
		if _, err := s.Put(t.Context(), mesh.Resource{Kind: mesh.MeshKind, Meta: mesh.Meta{Name: name}, Spec: spec}); err != nil {
			t.Fatal(err)
		}
		then := now.Add(-time.Duration(days) * 24 * time.Hour)
		if err := (&ca.Meshes{Store: s, Now: func() time.Time { return then }}).Ensure(t.Context(), name, spec); err != nil {
			t.Fatal(err)
		}
		first[name] = bundle(name)
	}
	k := &Keeper{
		Store: s, Meshes: &ca.Meshes{Store: s}, Stream: &fakeStream{hosts: 1}, Registered: func(string) int { return 1 },
		Replica: "a", Every: 10 * time.Millisecond, ByAge: true, Log: slog.New(slog.DiscardHandler),
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := k.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer running.Wait()
	defer stop()
	eventually(t, "a rotation has begun by itself", func() bool {
		r, _, err := k.Meshes.Rotation(t.Context(), "old", "ca-1")
		return err == nil && strings.Contains(r.Reason, "two thirds")
	})
	if _, _, err := k.Meshes.Rotation(t.Context(), "young", "ca-1"); !errors.Is(err, ca.ErrNoRotation) {
		t.Errorf("the young one: %v", err)
	}
	if got := bundle("young"); got != first["young"] {
		t.Errorf("the young one is %s, was %s", got, first["young"])
	}
}

// TestReplicasLeadTheirOwnRotation is the same for the authority of the control
// planes themselves.
func TestReplicasLeadTheirOwnRotation(t *testing.T) {
	s := memory.New()
	streams := []*fakeStream{{hosts: 1}, {hosts: 1, sulks: 1}}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	var first *ca.Own
	for n, stream := range streams {
		own, err := ca.OpenOwn(t.Context(), t.TempDir(), ca.OwnOptions{Store: s, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		first = own
		k := &Keeper{
			Store: s, Meshes: &ca.Meshes{Store: s}, Own: own, Stream: stream, Registered: func(string) int { return 2 }, Hosts: func() int { return 2 },
			Replica: fmt.Sprint(n), Every: 10 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
		}
		running.Go(func() {
			if err := k.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	defer running.Wait()
	defer stop()
	old := first.Fingerprint()
	want := fmt.Sprintf("1 authorities, %.8s", old)
	for _, f := range streams {
		eventually(t, "hosts are told whom to take for the control plane", func() bool { return f.ofOwn() == want })
	}
	if err := first.BeginRotation(t.Context(), ca.Options{Wait: time.Millisecond, Patience: time.Hour}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both replicas have reported, and one of its hosts lacks the authority", func() bool {
		st, err := first.Status(t.Context(), 2)
		return err == nil && st.Rotation != nil && st.Rotation.Replicas == 2 && st.Rotation.Ready == 1 && st.Rotation.Stage == string(ca.Spread)
	})
	streams[1].sulk(0)
	eventually(t, "the rotation is over", func() bool {
		st, err := first.Status(t.Context(), 2)
		return err == nil && st.Rotation == nil && st.Former == old
	})
	now := first.Fingerprint()
	all := []string{want, fmt.Sprintf("2 authorities, %.8s", old), fmt.Sprintf("2 authorities, %.8s", now), fmt.Sprintf("1 authorities, %.8s", now)}
	for _, f := range streams {
		eventually(t, "hosts are told of every stage", func() bool { return slices.Equal(strings.Split(f.ofOwn(), "\n"), all) })
	}
}

// TestFurtherControlPlanes has control planes come and go: hosts are told at once
// of those that come.
func TestFurtherControlPlanes(t *testing.T) {
	s, stream := memory.New(), &fakeStream{}
	own, err := ca.OpenOwn(t.Context(), t.TempDir(), ca.OwnOptions{Store: s, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	there := []string{"a:1"}
	ctx, stop := context.WithCancel(t.Context())
	k := &Keeper{
		Store: s, Meshes: &ca.Meshes{Store: s}, Own: own, Stream: stream, Registered: func(string) int { return 0 }, Hosts: func() int { return 0 },
		ControlPlanes: func() []string {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(there)
		},
		Replica: "a", Every: 10 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
	}
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() {
		if err := k.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	for _, step := range []struct {
		what        string
		there, told []string
	}{
		{"the first", []string{"a:1"}, []string{"a:1"}},
		{"a second comes", []string{"a:1", "b:1"}, []string{"a:1", "b:1"}},
		{"it goes, another comes", []string{"a:1", "c:1"}, []string{"a:1", "c:1"}},
		{"that goes, which may be no more than this one's own loss", []string{"a:1"}, []string{"a:1", "c:1"}},
		{"it is back", []string{"a:1", "c:1"}, []string{"a:1", "c:1"}},
	} {
		mu.Lock()
		there = step.there
		mu.Unlock()
		eventually(t, step.what, func() bool {
			stream.mu.Lock()
			defer stream.mu.Unlock()
			return slices.Equal(stream.cps, step.told)
		})
	}
	if n := len(strings.Split(stream.ofOwn(), "\n")); n != 3 {
		t.Errorf("hosts were told %d times, want 3", n)
	}
}

func TestSettled(t *testing.T) {
	f := &fakeStream{hosts: 3}
	if err := Settled(f, "default"); err != nil {
		t.Errorf("when all have answered: %v", err)
	}
	f.sulk(1)
	if err := Settled(f, "default"); err == nil || !strings.Contains(err.Error(), "1 of 3") || !strings.Contains(err.Error(), "web-0") {
		t.Errorf("when one has not: %v", err)
	}
}

var (
	_ Store  = store.Store(nil)
	_ Stream = (*xds.Server)(nil)
)
