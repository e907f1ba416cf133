package ca

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/memory"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// world is a mesh with its authority made.
type world struct {
	*Meshes
	now  time.Time
	spec *mesh.MeshSpec
}

func newWorld(t *testing.T, s *mesh.MeshSpec) *world {
	t.Helper()
	w := &world{now: start, spec: s}
	w.Meshes = &Meshes{Store: memory.New(), Now: func() time.Time { return w.now }}
	_, err := w.Store.Put(t.Context(), mesh.Resource{Kind: mesh.MeshKind, Meta: mesh.Meta{Name: "default"}, Spec: s})
	must(t, err)
	must(t, w.Ensure(t.Context(), "default", s))
	return w
}

// told is who signs, and how many roots there are. Whoever has a certificate of
// the one that signs must be believed.
func (w *world) told(t *testing.T) (issuer string, roots int) {
	t.Helper()
	b, err := w.Bundle(t.Context(), "default", w.spec)
	must(t, err)
	for rest := b.Roots; ; roots++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
	}
	leaf, _, issued := sign(t, w.Meshes, "default", w.spec, time.Hour)
	if !bytes.Equal(issued.Roots, b.Roots) {
		t.Error("what a host is given with its certificate and what it is told differ")
	}
	root, err := parseCert(b.Roots)
	must(t, err)
	must(t, leaf.CheckSignatureFrom(root))
	return b.Issuer, roots
}

func (w *world) advance(t *testing.T, registered int) Stage {
	t.Helper()
	to, _, err := w.Advance(t.Context(), "default", "ca-1", registered)
	must(t, err)
	return to
}

func (w *world) report(t *testing.T, replica string, stage Stage, hosts, ready int) {
	t.Helper()
	must(t, w.Report(t.Context(), "default", "ca-1", replica, Report{At: w.now, Stage: stage, Hosts: hosts, Ready: ready}))
}

func TestRotationGoesInStages(t *testing.T) {
	w := newWorld(t, spec(nil))
	old, roots := w.told(t)
	if roots != 1 {
		t.Fatalf("%d roots before", roots)
	}
	must(t, w.BeginRotation(t.Context(), "default", Options{Wait: time.Minute, Patience: time.Hour}))
	if err := w.BeginRotation(t.Context(), "default", Options{}); !errors.Is(err, ErrRotating) {
		t.Errorf("a second rotation: %v", err)
	}
	if issuer, roots := w.told(t); issuer != old || roots != 2 {
		t.Errorf("while the root spreads %s signs, with %d roots", issuer, roots)
	}
	w.report(t, "a", Spread, 2, 2)
	w.report(t, "b", Spread, 1, 0)
	if to := w.advance(t, 3); to != "" {
		t.Errorf("before the least time: %s", to)
	}
	w.now = w.now.Add(time.Minute)
	if to := w.advance(t, 3); to != "" {
		t.Errorf("on reports that are too old: %s", to)
	}
	w.report(t, "a", Spread, 2, 2)
	w.report(t, "b", Spread, 1, 0)
	if to := w.advance(t, 3); to != "" {
		t.Errorf("while one host lacks the root: %s", to)
	}
	w.report(t, "b", Spread, 1, 1)
	if to := w.advance(t, 4); to != "" {
		t.Errorf("while one host is offline: %s", to)
	}
	if to := w.advance(t, 3); to != Renew {
		t.Errorf("when all have it: %q", to)
	}
	next, roots := w.told(t)
	if next == old || roots != 2 {
		t.Errorf("while certificates are made anew %s signs, with %d roots", next, roots)
	}
	if err := w.EndRotation(t.Context(), "default"); !errors.Is(err, ErrRotating) {
		t.Errorf("given up too late: %v", err)
	}
	w.report(t, "a", Spread, 3, 3) // of a replica that is behind
	w.now = w.now.Add(time.Minute)
	if to := w.advance(t, 3); to != "" {
		t.Errorf("on reports of the stage before: %s", to)
	}
	w.now = w.now.Add(time.Hour)
	if to := w.advance(t, 3); to != Retire {
		t.Errorf("when patience is over: %q", to)
	}
	if issuer, roots := w.told(t); issuer != next || roots != 1 {
		t.Errorf("when the old root goes %s signs, with %d roots", issuer, roots)
	}
	if to := w.advance(t, 3); to != "done" {
		t.Errorf("at the end: %q", to)
	}
	if issuer, roots := w.told(t); issuer != next || roots != 1 {
		t.Errorf("after all %s signs, with %d roots", issuer, roots)
	}
	if _, _, err := w.Rotation(t.Context(), "default", "ca-1"); !errors.Is(err, ErrNoRotation) {
		t.Errorf("the rotation is still there: %v", err)
	}
	must(t, w.Ensure(t.Context(), "default", w.spec))
}

func TestRotationIsGivenUp(t *testing.T) {
	w := newWorld(t, spec(nil))
	old, _ := w.told(t)
	if err := w.EndRotation(t.Context(), "default"); !errors.Is(err, ErrNoRotation) {
		t.Errorf("without a rotation: %v", err)
	}
	must(t, w.BeginRotation(t.Context(), "default", Options{}))
	must(t, w.EndRotation(t.Context(), "default"))
	if issuer, roots := w.told(t); issuer != old || roots != 1 {
		t.Errorf("%s signs, with %d roots", issuer, roots)
	}
}

// A store that fails at the n-th write from now on.
type failing struct {
	Store
	left int
}

var errStore = errors.New("no disk")

func (f *failing) fails() bool { f.left--; return f.left < 0 }

func (f *failing) Put(ctx context.Context, r mesh.Resource) (mesh.Resource, error) {
	if f.fails() {
		return r, errStore
	}
	return f.Store.Put(ctx, r)
}

func (f *failing) Delete(ctx context.Context, k mesh.Key, at mesh.Version) error {
	if f.fails() {
		return errStore
	}
	return f.Store.Delete(ctx, k, at)
}

// Whatever write fails, the next replica goes on, and at no moment signs
// somebody whom hosts were not told of before.
func TestRotationGoesOnAfterEachFailure(t *testing.T) {
	for at := range 6 {
		w := newWorld(t, spec(nil))
		inner := w.Store
		must(t, w.BeginRotation(t.Context(), "default", Options{Wait: time.Nanosecond, Patience: time.Nanosecond}))
		b, err := w.Bundle(t.Context(), "default", w.spec)
		must(t, err)
		believed := string(b.Roots)
		w.Store = &failing{inner, at}
		failed := false
		for range 20 {
			w.now = w.now.Add(time.Second)
			to, _, err := w.Advance(t.Context(), "default", "ca-1", 1)
			if errors.Is(err, errStore) {
				failed = true
				w.Meshes = &Meshes{Store: inner, Now: w.Now} // another replica
			} else if errors.Is(err, ErrNoRotation) {
				break
			} else {
				must(t, err)
			}
			_ = to
			_, root, _ := sign(t, w.Meshes, "default", w.spec, time.Hour)
			if !strings.Contains(believed, string(certPEM(root.Raw))) {
				t.Fatalf("failure %d: signed by whom nobody was told of", at)
			}
		}
		if !failed && at < 5 {
			t.Errorf("write %d did not fail", at)
		}
		if _, _, err := w.Rotation(t.Context(), "default", "ca-1"); !errors.Is(err, ErrNoRotation) {
			t.Errorf("failure %d: the rotation did not end: %v", at, err)
		}
		must(t, w.Ensure(t.Context(), "default", w.spec))
		if s, err := w.Status(t.Context(), "default", 1); err != nil || s.Backends[0].Fault != "" || s.Issuer == b.Issuer {
			t.Errorf("failure %d: %+v, %v", at, s, err)
		}
	}
}

func TestOldAuthorities(t *testing.T) {
	w := newWorld(t, spec(caConf(0, "9d")))
	for days, want := range map[int]bool{0: false, 5: false, 7: true, 20: true} {
		w.now = start.Add(time.Duration(days) * 24 * time.Hour)
		if got, err := w.Old(t.Context(), "default", w.spec); err != nil || got != want {
			t.Errorf("after %d days: %t, %v", days, got, err)
		}
	}
}

func TestStatusHasNoKey(t *testing.T) {
	w := newWorld(t, spec(nil))
	must(t, w.BeginRotation(t.Context(), "default", Options{Reason: "a test"}))
	s, err := w.Status(t.Context(), "default", 3)
	must(t, err)
	if s.Rotation == nil || s.Rotation.Old != s.Issuer || s.Rotation.New == "" || s.Rotation.New == s.Issuer || s.Rotation.Dataplanes != 3 || s.Rotation.WaitsFor == "" {
		t.Errorf("%+v", s.Rotation)
	}
}

func TestProvidedAuthority(t *testing.T) {
	provided := func(cert, key *mesh.DataSource) *mesh.MeshSpec {
		return spec(func(be *mesh.MTLSBackend) { be.Type, be.Conf = Provided, &mesh.BackendConf{Cert: cert, Key: key} })
	}
	w := newWorld(t, spec(nil))
	root, rootKey := provide(t, w, nil, nil)
	sub, subKey := provide(t, w, root, rootKey)
	_, err := w.Store.Put(t.Context(), mesh.Resource{Kind: mesh.SecretKind, Meta: mesh.Meta{Mesh: "default", Name: "their-key"}, Spec: &mesh.Secret{Data: rootKey}})
	must(t, err)
	w.ReadFile = func(path string) ([]byte, error) {
		if path != "/etc/ca.pem" {
			return nil, errors.New("not in the folder of resource files")
		}
		return root, nil
	}
	inline := func(data []byte) *mesh.DataSource { return &mesh.DataSource{Inline: data} }
	secret := &mesh.DataSource{Secret: "their-key"}
	for name, test := range map[string]struct {
		cert, key *mesh.DataSource
		fault     string
	}{
		"inline":               {inline(root), inline(rootKey), ""},
		"secret and file":      {&mesh.DataSource{File: "/etc/ca.pem"}, secret, ""},
		"with a chain":         {inline(sub), inline(subKey), ""},
		"no such secret":       {inline(root), &mesh.DataSource{Secret: "none"}, `conf.key: there is no secret "none"`},
		"another file":         {&mesh.DataSource{File: "/etc/shadow"}, secret, "not in the folder"},
		"another key":          {inline(root), inline(subKey), "its key is of another certificate"},
		"a chain without root": {inline(sub[:bytes.Index(sub, []byte("-----END CERTIFICATE-----"))+26]), inline(subKey), "does not end at a root"},
		"no certificate":       {inline(rootKey), inline(rootKey), "only CERTIFICATE is allowed"},
		"nothing":              {inline([]byte("x")), inline(rootKey), "is no certificate"},
	} {
		s := provided(test.cert, test.key)
		err := w.Ensure(t.Context(), "default", s)
		if test.fault != "" {
			if !errors.Is(err, mesh.ErrInvalid) || !strings.Contains(err.Error(), test.fault) || strings.Contains(err.Error(), "BEGIN") {
				t.Errorf("%s: %v, want %q", name, err, test.fault)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		issued, err := w.Sign(t.Context(), "default", s, []string{"spiffe://default/web"}, p256(t).Public(), time.Minute)
		must(t, err)
		verified(t, w, issued)
	}
	if err := w.BeginRotation(t.Context(), "default", Options{}); err != nil {
		t.Errorf("the builtin authority of the mesh: %v", err)
	}
}

func TestMeshTrustsAllOfItsAuthorities(t *testing.T) {
	w := newWorld(t, spec(nil))
	cert, key := provide(t, w, nil, nil)
	two := &mesh.MeshSpec{MTLS: &mesh.MTLS{EnabledBackend: "ca-1", Backends: []mesh.MTLSBackend{
		{Name: "ca-1", Type: Builtin},
		{Name: "theirs", Type: Provided, Conf: &mesh.BackendConf{Cert: &mesh.DataSource{Inline: cert}, Key: &mesh.DataSource{Inline: key}}},
	}}}
	must(t, w.Ensure(t.Context(), "default", two))
	w.spec = two
	ours, roots := w.told(t)
	if roots != 2 {
		t.Errorf("%d roots", roots)
	}
	other := *two.MTLS
	other.EnabledBackend = "theirs"
	w.spec = &mesh.MeshSpec{MTLS: &other}
	if theirs, roots := w.told(t); theirs == ours || roots != 2 {
		t.Errorf("%s signs, with %d roots", theirs, roots)
	}
	if _, err := w.Store.Get(t.Context(), CertKey("default", "theirs")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a provided authority was made: %v", err)
	}
}
