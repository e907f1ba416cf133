package ca

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/keyfile"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// OwnKey names the GlobalSecret that holds the control plane's own authority.
var OwnKey = mesh.Key{Kind: mesh.GlobalSecretKind.Name, Name: "control-plane-ca"}

// An ownState is the authority as it is stored. It is one secret, so that each
// step of an exchange is one write.
type ownState struct {
	ID       string       `json:"id"`   // the fingerprint that it had at first
	Cert     []byte       `json:"cert"` // PEM
	Key      []byte       `json:"key"`  // PEM
	Former   *ownFormer   `json:"former,omitempty"`
	Rotation *ownRotation `json:"rotation,omitempty"`

	version mesh.Version
}

// An ownFormer is the authority before, without its key.
type ownFormer struct {
	Cert  []byte `json:"cert"`  // PEM, signed by itself
	Cross []byte `json:"cross"` // PEM: the one after it, signed by it
}

type ownRotation struct {
	Rotation

	Former ownFormer `json:"former"` // what the old authority is when the new one signs
}

// movedSuffix is what is appended to the name of a key file that is in the
// store now. An older version of Weft does not start without its key, and says
// so; it must not make another one.
const movedSuffix = ".in-store"

// openStored reads the authority from the store. The first control plane puts it
// there: that of its files, or a new one.
func (o *Own) openStored(ctx context.Context) error {
	_, err := o.Refresh(ctx)
	if errors.Is(err, store.ErrNotFound) {
		if err = o.establish(ctx); err == nil || errors.Is(err, store.ErrConflict) { // another one was faster
			_, err = o.Refresh(ctx)
		}
	}
	if err != nil {
		return err
	}
	if err := o.moveKey(); err != nil {
		return err
	}
	o.writeCert()
	return nil
}

func (o *Own) establish(ctx context.Context) error {
	var a authority
	var err error
	if o.hasFiles() {
		a, err = o.openFiles()
	} else {
		a, err = newOwn(o.opts.Now())
	}
	if err != nil {
		return err
	}
	if o.opts.Claim != nil {
		first, err := o.opts.Claim(ctx, a.fingerprint())
		if err != nil {
			return err
		}
		if first != a.fingerprint() {
			return fmt.Errorf("control planes of an older version have authority %.12s… on this store, in files of their data directories: start one of them with this version first, which puts it into the store", first)
		}
	}
	key, err := signerPEM(a.key)
	if err != nil {
		return err
	}
	if err := o.keep(ctx, ownState{ID: a.fingerprint(), Cert: a.root, Key: key}); err != nil {
		return err
	}
	o.opts.Log.Info("control plane's authority put into the store, sealed", "fingerprint", a.fingerprint())
	return nil
}

func newOwn(now time.Time) (a authority, err error) {
	key, err := newCAKey(0)
	if err != nil {
		return a, err
	}
	signer, err := parseSigner(key)
	if err != nil {
		return a, err
	}
	cert, err := newOwnCert(signer, now)
	if err != nil {
		return a, err
	}
	return newAuthority(cert, key)
}

func (o *Own) hasFiles() bool {
	for _, path := range []string{o.keyPath(), o.certPath()} {
		if _, err := os.Lstat(path); err == nil {
			return true
		}
	}
	return false
}

// moveKey puts a key file aside that is in the store. One of another authority
// is refused: whoever put it there expects hosts to know it.
func (o *Own) moveKey() error {
	if _, err := os.Lstat(o.keyPath()); err != nil {
		return nil //nolint:nilerr // there is none
	}
	data, err := keyfile.Read(o.keyPath())
	if err != nil {
		return err
	}
	key, err := parseSigner(data)
	if err != nil {
		return fmt.Errorf("%s: %w", o.keyPath(), err)
	}
	hash, err := fingerprint(key.Public())
	if err != nil {
		return err
	}
	o.mu.Lock()
	known := hash == o.state.ID || o.keys.former != nil && samePublic(o.keys.former.PublicKey, key.Public())
	for _, c := range o.keys.trusted {
		known = known || samePublic(c.PublicKey, key.Public())
	}
	o.mu.Unlock()
	if !known {
		return fmt.Errorf("%s is of authority %.12s…, that of the control planes on this store is %.12s…: hosts know one only; if it is the store's, move %s away, and if it is this one, give this control plane a store of its own",
			o.keyPath(), hash, o.Fingerprint(), o.keyPath())
	}
	if err := keyfile.Rename(o.keyPath(), o.keyPath()+movedSuffix); err != nil {
		return err
	}
	o.opts.Log.Info("control plane's key is in the store, sealed: its file was put aside and may be deleted", "file", o.keyPath()+movedSuffix)
	return nil
}

// writeCert leaves the certificates where people take them from, to know the
// control plane by. Nothing depends on it.
func (o *Own) writeCert() {
	if err := keyfile.Write(o.certPath(), o.Authorities()); err != nil {
		o.opts.Log.Warn("certificate of the control plane's authority was not written", "file", o.certPath(), "error", err)
	}
}

// Refresh reads the authority as it is stored, and tells whether it is another
// one than before.
func (o *Own) Refresh(ctx context.Context) (changed bool, err error) {
	if o.opts.Store == nil {
		return false, nil
	}
	s, err := o.load(ctx)
	if err != nil {
		return false, err
	}
	o.mu.Lock()
	was := o.state.version
	o.mu.Unlock()
	if s.version == was {
		return false, nil
	}
	keys, err := s.keys()
	if err != nil {
		return false, fmt.Errorf("%s: %w", OwnKey, err)
	}
	o.mu.Lock()
	before := o.keys
	o.state, o.keys = s, keys
	o.mu.Unlock()
	if changed = !keys.like(before); changed && was != 0 {
		o.writeCert()
	}
	return changed, nil
}

func (o *Own) load(ctx context.Context) (s ownState, err error) {
	r, err := o.opts.Store.Get(ctx, OwnKey)
	if err != nil {
		return s, err
	}
	data, err := secretData(r)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("%s cannot be read: put the store back from a backup", OwnKey) // the cause could quote key material
	}
	s.version = r.Meta.Version
	return s, nil
}

// keep writes s if nobody wrote since it was read.
func (o *Own) keep(ctx context.Context, s ownState) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	_, err = o.opts.Store.Put(ctx, mesh.Resource{
		Kind: mesh.GlobalSecretKind, Meta: mesh.Meta{Name: OwnKey.Name, Version: s.version}, Spec: &mesh.Secret{Data: data},
	})
	return err
}

// keys are what a state makes of the authority.
func (s ownState) keys() (k ownKeys, err error) {
	if k.signer, err = newAuthority(s.Cert, s.Key); err != nil {
		return k, err
	}
	k.trusted = []*x509.Certificate{k.signer.cert}
	before := s.Former
	if r := s.Rotation; r != nil {
		next, err := newAuthority(r.Cert, r.Key)
		if err != nil {
			return k, fmt.Errorf("the next one: %w", err)
		}
		k.trusted = append(k.trusted, next.cert)
		if r.Stage == Renew {
			k.signer, before = next, &r.Former
		}
	}
	if before == nil {
		return k, nil
	}
	if k.former, err = parseCert(before.Cert); err != nil {
		return k, fmt.Errorf("the former one: %w", err)
	}
	if k.cross, err = parseCert(before.Cross); err != nil {
		return k, fmt.Errorf("the way from the former one: %w", err)
	}
	return k, nil
}

// like tells whether hosts would notice no difference.
func (k ownKeys) like(other ownKeys) bool {
	return other.signer.cert != nil && k.signer.cert.Equal(other.signer.cert) && slices.EqualFunc(k.trusted, other.trusted, (*x509.Certificate).Equal)
}

// Authorities are whom hosts are to take for this control plane, PEM.
func (o *Own) Authorities() (all []byte) {
	for _, c := range o.now().trusted {
		all = append(all, certPEM(c.Raw)...)
	}
	return all
}
