package ca

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// A Stage is how far a rotation has come.
type Stage string

// The stages, in their order.
const (
	// Spread: the new root goes to all hosts; the old authority signs.
	Spread Stage = "spread"
	// Renew: both roots are believed; the new authority signs.
	Renew Stage = "renew"
	// Retire: only the new root is believed. What is left is to make the new
	// authority the mesh's own.
	Retire Stage = "retire"
)

var (
	// ErrNoRotation: the authority does not rotate.
	ErrNoRotation = errors.New("no rotation is under way")
	// ErrRotating: it does already.
	ErrRotating = errors.New("a rotation is under way")
)

// A Rotation is the exchange of a builtin authority for another one. It is one
// Secret, so that each step is one write: whichever replica goes on finds the
// whole of it.
type Rotation struct {
	Stage   Stage     `json:"stage"`
	Reason  string    `json:"reason"`
	Started time.Time `json:"started"`
	Since   time.Time `json:"since"` // of the stage
	// Wait is how long a stage takes at least, in nanoseconds: what a host has
	// told that it has may still be on its way into Envoy.
	Wait time.Duration `json:"wait"`
	// Patience is after how long a stage ends without the hosts that have not
	// said that they are ready. By default it is the life of a certificate: by
	// then each host has asked for a new one, or has none that is valid.
	Patience time.Duration `json:"patience"`
	Cert     []byte        `json:"cert"` // PEM, of the new authority
	Key      []byte        `json:"key"`  // PEM
	// Reports are how the hosts of each replica are, by replica.
	Reports map[string]Report `json:"reports,omitempty"`

	version mesh.Version
}

// A Report is what one replica knows of its hosts.
type Report struct {
	At    time.Time `json:"at"`
	Stage Stage     `json:"stage"`
	Hosts int       `json:"hosts"` // connected, with an agent
	Ready int       `json:"ready"` // of them those that are where the stage wants them
}

// How long a report counts. A replica writes a new one sooner.
const (
	reportEvery = 5 * time.Second
	reportLives = 4 * reportEvery
)

// RotationKey names the Secret of a rotation.
func RotationKey(meshName, backend string) mesh.Key {
	return mesh.Key{Kind: mesh.SecretKind.Name, Mesh: meshName, Name: meshName + ".ca-rotation-" + backend}
}

// Progress counts over all replicas whose report is of this stage and young.
func (r Rotation) Progress(now time.Time) (replicas, hosts, ready int) {
	for _, p := range r.Reports {
		if p.Stage == r.Stage && now.Sub(p.At) < reportLives {
			replicas++
			hosts += p.Hosts
			ready += p.Ready
		}
	}
	return replicas, hosts, ready
}

// Due tells whether the stage may end, given how many dataplanes the mesh has;
// and if not, what it waits for.
func (r Rotation) Due(now time.Time, registered int) (bool, string) {
	if r.Stage == Retire {
		return true, "putting the new authority in the old one's place"
	}
	if left := r.Since.Add(r.Wait).Sub(now); left > 0 {
		return false, fmt.Sprintf("the least time of a stage, %s: %s to go", r.Wait, left.Round(time.Second))
	}
	replicas, hosts, ready := r.Progress(now)
	if replicas > 0 && ready == hosts && ready >= registered {
		return true, "all hosts are ready"
	}
	if left := r.Since.Add(r.Patience).Sub(now); left > 0 {
		return false, fmt.Sprintf("%d of %d dataplanes, of which %d are connected; for %s at most", max(registered-ready, hosts-ready), max(registered, hosts), hosts, left.Round(time.Second))
	}
	return true, fmt.Sprintf("%s have passed; %d dataplanes have not answered", r.Patience, max(registered, hosts)-ready)
}

// Rotation returns the rotation of a mesh's backend. It fails with
// ErrNoRotation.
func (m *Meshes) Rotation(ctx context.Context, meshName, backend string) (Rotation, mesh.Version, error) {
	var r Rotation
	s, err := m.Store.Get(ctx, RotationKey(meshName, backend))
	if errors.Is(err, store.ErrNotFound) {
		return r, 0, fmt.Errorf("authority %q of mesh %q: %w", backend, meshName, ErrNoRotation)
	}
	if err != nil {
		return r, 0, err
	}
	data, err := secretData(s)
	if err != nil {
		return r, 0, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, 0, fmt.Errorf("%s cannot be read: delete it to end the rotation", s.Key()) // the cause could quote key material
	}
	r.version = s.Meta.Version
	return r, r.version, nil
}

// keep writes r if nobody wrote since it was read.
func (m *Meshes) keep(ctx context.Context, meshName, backend string, r Rotation) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	meta := mesh.Own(RotationKey(meshName, backend))
	meta.Version = r.version
	_, err = m.Store.Put(ctx, mesh.Resource{Kind: mesh.SecretKind, Meta: meta, Spec: &mesh.Secret{Data: data}})
	return err
}

// Options say how a rotation goes. The zero value is the ordinary case.
type Options struct {
	Reason   string
	Wait     time.Duration // 0: DefaultWait
	Patience time.Duration // 0: the life of a certificate
}

// DefaultWait is how long a stage takes at least.
const DefaultWait = time.Minute

// BeginRotation makes a new authority for the backend that signs, and begins to
// tell hosts of its root. It fails with ErrRotating where it did so before, with
// ErrOff in a mesh without mTLS, and with mesh.Violations where the backend is
// not a builtin one.
func (m *Meshes) BeginRotation(ctx context.Context, meshName string, o Options) error {
	spec, err := m.meshSpec(ctx, meshName)
	if err != nil {
		return err
	}
	be, err := backend(meshName, spec)
	if err != nil {
		return err
	}
	if be.Type != Builtin {
		var v mesh.Violations
		v.Add("mtls.enabledBackend", "%q is a provided authority: add another backend to the mesh, wait until `weftctl ca status` says that all hosts know it, and enable that", be.Name)
		return v.Err()
	}
	bits, life, err := caShape(be)
	if err != nil {
		return err
	}
	key, err := newCAKey(bits)
	if err != nil {
		return err
	}
	signer, err := parseSigner(key)
	if err != nil {
		return err
	}
	now := m.now().UTC()
	cert, err := newCACert(meshName, signer, now, life)
	if err != nil {
		return err
	}
	err = m.keep(ctx, meshName, be.Name, begin(o, now, be.CertLifetime(), cert, key))
	if errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("authority %q of mesh %q: %w since before: `weftctl ca status` shows it", be.Name, meshName, ErrRotating)
	}
	return err
}

// begin is a rotation that begins, to an authority of that certificate and key;
// life is that of the certificates that have to be made anew.
func begin(o Options, now time.Time, life time.Duration, cert, key []byte) Rotation {
	r := Rotation{
		Stage: Spread, Reason: o.Reason, Started: now, Since: now, Wait: o.Wait, Patience: o.Patience, Cert: cert, Key: key,
	}
	if r.Wait <= 0 {
		r.Wait = DefaultWait
	}
	if r.Patience <= 0 {
		r.Patience = life
	}
	r.Patience = max(r.Patience, r.Wait)
	return r
}

// EndRotation gives up a rotation that has only spread its root so far.
func (m *Meshes) EndRotation(ctx context.Context, meshName string) error {
	spec, err := m.meshSpec(ctx, meshName)
	if err != nil {
		return err
	}
	be, err := backend(meshName, spec)
	if err != nil {
		return err
	}
	r, version, err := m.Rotation(ctx, meshName, be.Name)
	if err != nil {
		return err
	}
	if r.Stage != Spread {
		return fmt.Errorf("authority %q of mesh %q: %w in stage %s, where hosts have certificates of the new authority already: let it finish, and rotate again if need be",
			be.Name, meshName, ErrRotating, r.Stage)
	}
	return m.Store.Delete(ctx, RotationKey(meshName, be.Name), version)
}

// Report notes how a replica's hosts are, where that is news or the last note
// is old. It tells nothing of a stage that is over.
func (m *Meshes) Report(ctx context.Context, meshName, backend, replica string, now Report) error {
	r, _, err := m.Rotation(ctx, meshName, backend)
	if err != nil {
		return err
	}
	if !r.note(replica, now) {
		return nil
	}
	return m.keep(ctx, meshName, backend, r)
}

// note takes a replica's report, and tells whether it is worth a write.
func (r *Rotation) note(replica string, now Report) bool {
	last, told := r.Reports[replica]
	same := last.Stage == now.Stage && last.Hosts == now.Hosts && last.Ready == now.Ready
	if r.Stage != now.Stage || told && same && now.At.Sub(last.At) < reportEvery {
		return false
	}
	r.Reports = maps.Clone(r.Reports)
	if r.Reports == nil {
		r.Reports = map[string]Report{}
	}
	maps.DeleteFunc(r.Reports, func(_ string, p Report) bool { return now.At.Sub(p.At) > reportLives })
	r.Reports[replica] = now
	return true
}

// Advance moves a rotation on where its stage may end, and says to which stage;
// "" where it stays. After Retire it is over. Replicas may do so at once: one
// wins, and the others find store.ErrConflict.
func (m *Meshes) Advance(ctx context.Context, meshName, backend string, registered int) (to Stage, why string, err error) {
	r, _, err := m.Rotation(ctx, meshName, backend)
	if err != nil {
		return "", "", err
	}
	now := m.now().UTC()
	due, why := r.Due(now, registered)
	if !due {
		return "", why, nil
	}
	switch r.Stage {
	case Spread:
		r.Stage = Renew
	case Renew:
		r.Stage = Retire
	case Retire:
		return "done", why, m.promote(ctx, meshName, backend, r)
	default:
		return "", "", fmt.Errorf("%s: there is no stage %.32q", RotationKey(meshName, backend), r.Stage)
	}
	r.Since, r.Reports = now, nil
	return r.Stage, why, m.keep(ctx, meshName, backend, r)
}

// promote puts the new authority where the old one was. As long as the rotation
// is there it decides, so that the two Secrets may disagree meanwhile, and
// whoever was interrupted does it again.
func (m *Meshes) promote(ctx context.Context, meshName, backend string, r Rotation) error {
	for _, w := range []struct {
		key  mesh.Key
		data []byte
	}{{KeyKey(meshName, backend), r.Key}, {CertKey(meshName, backend), r.Cert}} {
		meta := mesh.Own(w.key)
		old, err := m.Store.Get(ctx, w.key)
		switch {
		case err == nil:
			data, _ := secretData(old)
			if slices.Equal(data, w.data) {
				continue
			}
			meta = old.Meta
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
		if _, err := m.Store.Put(ctx, mesh.Resource{Kind: mesh.SecretKind, Meta: meta, Spec: &mesh.Secret{Data: w.data}}); err != nil {
			return err
		}
	}
	return m.Store.Delete(ctx, RotationKey(meshName, backend), r.version)
}

// Old tells whether two thirds of the life of the builtin authority that signs
// are over, so that it should rotate.
func (m *Meshes) Old(ctx context.Context, meshName string, spec *mesh.MeshSpec) (bool, error) {
	be, err := backend(meshName, spec)
	if errors.Is(err, ErrOff) || err == nil && be.Type != Builtin {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	a, err := m.builtin(ctx, meshName, be.Name)
	if err != nil {
		return false, err
	}
	life := a.cert.NotAfter.Sub(a.cert.NotBefore)
	return m.now().After(a.cert.NotAfter.Add(-life / 3)), nil
}

// Status tells how a mesh's authorities are; registered is how many dataplanes
// it has.
func (m *Meshes) Status(ctx context.Context, meshName string, registered int) (s api.MeshAuthorities, err error) {
	spec, err := m.meshSpec(ctx, meshName)
	if err != nil {
		return s, err
	}
	s = api.MeshAuthorities{Mesh: meshName, Backends: []api.MeshAuthority{}}
	if spec.MTLS == nil {
		return s, nil
	}
	now := m.now()
	for _, be := range spec.MTLS.Backends {
		b := api.MeshAuthority{Name: be.Name, Type: be.Type, Signs: be.Name == spec.MTLS.EnabledBackend}
		g, err := m.generation(ctx, meshName, be)
		if err != nil {
			b.Fault = err.Error()
			s.Backends = append(s.Backends, b)
			continue
		}
		c := g.signer.cert
		b.Algorithm, b.Fingerprint, b.NotBefore, b.NotAfter = c.PublicKeyAlgorithm.String(), g.signer.fingerprint(), c.NotBefore.UTC(), c.NotAfter.UTC()
		s.Backends = append(s.Backends, b)
		if b.Signs {
			s.Issuer = b.Fingerprint
		}
		r, _, err := m.Rotation(ctx, meshName, be.Name)
		if err != nil {
			continue
		}
		replicas, hosts, ready := r.Progress(now)
		_, why := r.Due(now, registered)
		st := api.AuthorityRotation{
			Backend: be.Name, Stage: string(r.Stage), Reason: r.Reason, Started: r.Started, Since: r.Since,
			Dataplanes: registered, Connected: hosts, Ready: ready, WaitsFor: why, Replicas: replicas,
		}
		if old, err := m.builtin(ctx, meshName, be.Name); err == nil {
			st.Old = old.fingerprint()
		}
		if next, err := newAuthority(r.Cert, r.Key); err == nil {
			st.New = next.fingerprint()
		}
		s.Rotation = &st
	}
	return s, nil
}
