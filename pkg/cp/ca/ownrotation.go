package ca

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/store"
)

// ErrFiles: the authority is in files of one control plane, and hosts that are
// told of another one could not be told back.
var ErrFiles = errors.New("the control plane's authority is not in a store that keeps anything (--store memory), and cannot be exchanged")

// The control plane's own authority goes through Spread and Renew, and is over
// when all have answered: what comes after is one write.

// BeginRotation makes another authority and begins to tell hosts of it. It fails
// with ErrRotating where it did so before.
func (o *Own) BeginRotation(ctx context.Context, options Options) error {
	if o.opts.Store == nil {
		return ErrFiles
	}
	s, err := o.load(ctx)
	if err != nil {
		return err
	}
	if s.Rotation != nil {
		return fmt.Errorf("the control plane's authority: %w since before: `weftctl ca status --control-plane` shows it", ErrRotating)
	}
	old, err := newAuthority(s.Cert, s.Key)
	if err != nil {
		return err
	}
	now := o.opts.Now().UTC()
	next, err := newOwn(now)
	if err != nil {
		return err
	}
	key, err := signerPEM(next.key)
	if err != nil {
		return err
	}
	r := ownRotation{Rotation: begin(options, now, agentLife, next.root, key)}
	// Made anew: one of an older version of Weft allows nothing between itself
	// and a host. Join tokens pin its key only.
	if r.Former.Cert, err = signOwn(old, old, old.cert); err != nil {
		return err
	}
	if r.Former.Cross, err = signOwn(old, next, next.cert); err != nil {
		return err
	}
	s.Rotation = &r
	err = o.keep(ctx, s)
	if errors.Is(err, store.ErrConflict) {
		err = fmt.Errorf("the control plane's authority: %w since just now", ErrRotating)
	}
	return err
}

// signOwn makes a certificate for the key of an own authority, until like ends or
// the signer does, PEM.
func signOwn(by, of authority, like *x509.Certificate) ([]byte, error) {
	template, err := ownTemplate(of.key.Public(), like.NotBefore, earlier(like.NotAfter, by.cert.NotAfter))
	if err != nil {
		return nil, err
	}
	template.NotBefore, template.Subject = like.NotBefore, of.cert.Subject
	parent := by.cert
	if samePublic(by.key.Public(), of.key.Public()) {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, of.key.Public(), by.key)
	if err != nil {
		return nil, err
	}
	return certPEM(der), nil
}

// EndRotation gives up an exchange that has only spread the new authority so
// far.
func (o *Own) EndRotation(ctx context.Context) error {
	s, err := o.rotating(ctx)
	if err != nil {
		return err
	}
	if s.Rotation.Stage != Spread {
		return fmt.Errorf("the control plane's authority: %w in stage %s, where hosts have certificates of the new one already: let it finish, and rotate again if need be", ErrRotating, s.Rotation.Stage)
	}
	s.Rotation = nil
	return o.keep(ctx, s)
}

func (o *Own) rotating(ctx context.Context) (s ownState, err error) {
	none := fmt.Errorf("the control plane's authority: %w", ErrNoRotation)
	if o.opts.Store == nil {
		return s, none
	}
	if s, err = o.load(ctx); err == nil && s.Rotation == nil {
		err = none
	}
	return s, err
}

// Rotates is the stage that is under way, as it was when the authority was read
// last; "": none.
func (o *Own) Rotates() Stage {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state.Rotation == nil {
		return ""
	}
	return o.state.Rotation.Stage
}

// Report notes how a replica's hosts are, as Meshes.Report does.
func (o *Own) Report(ctx context.Context, replica string, now Report) error {
	s, err := o.rotating(ctx)
	if err != nil {
		return err
	}
	if !s.Rotation.note(replica, now) {
		return nil
	}
	return o.keep(ctx, s)
}

// Advance moves the exchange on where its stage may end, and says to which
// stage; "" where it stays. registered is how many hosts there are.
func (o *Own) Advance(ctx context.Context, registered int) (to Stage, why string, err error) {
	s, err := o.rotating(ctx)
	if err != nil {
		return "", "", err
	}
	r := s.Rotation
	now := o.opts.Now().UTC()
	due, why := r.Due(now, registered)
	if !due {
		return "", why, nil
	}
	if r.Stage == Spread {
		to, r.Stage, r.Since, r.Reports = Renew, Renew, now, nil
	} else {
		to, s.Cert, s.Key, s.Former, s.Rotation = "done", r.Cert, r.Key, &r.Former, nil
	}
	return to, why, o.keep(ctx, s)
}

// Old tells whether two thirds of the authority's life are over.
func (o *Own) Old() bool {
	c := o.now().signer.cert
	return o.opts.Store != nil && o.Rotates() == "" && o.opts.Now().After(c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore)/3))
}

// Status tells how the authority is; registered is how many hosts there are.
func (o *Own) Status(ctx context.Context, registered int) (s api.OwnAuthority, err error) {
	if _, err := o.Refresh(ctx); err != nil {
		return s, err
	}
	o.mu.Lock()
	state, keys := o.state, o.keys
	o.mu.Unlock()
	c := keys.signer.cert
	s = api.OwnAuthority{ID: o.ID(), Algorithm: c.PublicKeyAlgorithm.String(), Fingerprint: keys.signer.fingerprint(), NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC()}
	if keys.former != nil {
		s.Former = authority{cert: keys.former}.fingerprint()
	}
	if r := state.Rotation; r != nil {
		replicas, hosts, ready := r.Progress(o.opts.Now())
		_, why := r.Due(o.opts.Now(), registered)
		s.Rotation = &api.AuthorityRotation{
			Stage: string(r.Stage), Reason: r.Reason, Started: r.Started, Since: r.Since,
			Dataplanes: registered, Connected: hosts, Ready: ready, WaitsFor: why, Replicas: replicas,
			Old: authority{cert: keys.trusted[0]}.fingerprint(), New: authority{cert: keys.trusted[1]}.fingerprint(),
		}
	}
	return s, nil
}
