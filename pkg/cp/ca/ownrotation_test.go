package ca

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/memory"
)

func (m *machine) on(s Store) OwnOptions {
	o := m.options()
	o.Store = s
	return o
}

// TestOwnIsSharedByItsStore starts control planes on one store, at once and one
// after the other.
func TestOwnIsSharedByItsStore(t *testing.T) {
	s := memory.New()
	m := &machine{now: start}
	var prints [4]string
	var starting sync.WaitGroup
	for n := range prints {
		dir := t.TempDir()
		starting.Go(func() {
			own, err := OpenOwn(t.Context(), dir, m.on(s))
			if err != nil {
				t.Error(err)
				return
			}
			prints[n] = own.Fingerprint()
		})
	}
	starting.Wait()
	for _, p := range prints {
		if p != prints[0] || p == "" {
			t.Fatalf("authorities are %q", prints)
		}
	}
	dir := t.TempDir()
	late := open(t, dir, m.on(s))
	if late.Fingerprint() != prints[0] || late.ID() != prints[0] {
		t.Error("one that came later has another authority")
	}
	if _, err := os.Lstat(filepath.Join(dir, "ca.key")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its key lies in a file: %v", err)
	}
	if crt, err := os.ReadFile(filepath.Join(dir, "ca.crt")); err != nil || !bytes.Equal(crt, late.PEM()) {
		t.Errorf("ca.crt: %v\n%s", err, crt)
	}
}

// TestOwnTakesFilesOver starts where an older version had its files.
func TestOwnTakesFilesOver(t *testing.T) {
	m := &machine{now: start}
	dir := t.TempDir()
	before := open(t, dir, m.options())
	s := memory.New()
	claimed := ""
	claim := func(_ context.Context, f string) (string, error) {
		if claimed == "" {
			claimed = f
		}
		return claimed, nil
	}
	o := m.on(s)
	o.Claim = claim
	now := open(t, dir, o)
	if now.Fingerprint() != before.Fingerprint() {
		t.Error("another authority")
	}
	if _, err := os.Lstat(filepath.Join(dir, "ca.key"+movedSuffix)); err != nil {
		t.Error(err)
	}
	// An older version of Weft must not make another one in its place.
	if _, err := OpenOwn(t.Context(), dir, m.options()); err == nil || !strings.Contains(err.Error(), "put the key back") {
		t.Errorf("without the store: %v", err)
	}
	// A copy of the files on another replica is the same authority.
	other := t.TempDir()
	must(t, os.CopyFS(other, os.DirFS(dir)))
	must(t, os.Rename(filepath.Join(other, "ca.key"+movedSuffix), filepath.Join(other, "ca.key")))
	must(t, os.Chmod(filepath.Join(other, "ca.key"), 0o600))
	if open(t, other, o).Fingerprint() != before.Fingerprint() {
		t.Error("another authority by a copy")
	}
	stranger := t.TempDir()
	open(t, stranger, m.options())
	if _, err := OpenOwn(t.Context(), stranger, o); err == nil || !strings.Contains(err.Error(), "hosts know one only") {
		t.Errorf("files of another control plane: %v", err)
	}
	// A new replica must not come before those that have the key in files.
	empty := m.on(memory.New())
	empty.Claim = claim
	if _, err := OpenOwn(t.Context(), t.TempDir(), empty); err == nil || !strings.Contains(err.Error(), "start one of them with this version first") {
		t.Errorf("before the others: %v", err)
	}
	if _, err := empty.Store.Get(t.Context(), OwnKey); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("it left an authority behind: %v", err)
	}
}

// legacy makes the files of an older version of Weft, whose authority allows
// nothing between itself and a host.
func legacy(t *testing.T, dir string, now time.Time) {
	t.Helper()
	a, err := newOwn(now)
	must(t, err)
	key, err := signerPEM(a.key)
	must(t, err)
	template, err := ownTemplate(a.key.Public(), now, now.Add(ownLife))
	must(t, err)
	template.MaxPathLen, template.MaxPathLenZero = 0, true
	cert, err := signBy(template, a)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "ca.key"), key, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "ca.crt"), cert, 0o600))
}

func signBy(template *x509.Certificate, a authority) ([]byte, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	return certPEM(der), err
}

// TestOwnRotates walks an exchange with two control planes: in each stage it is
// looked at who takes the server for the control plane, and whom it lets in.
func TestOwnRotates(t *testing.T) {
	for _, from := range []string{"an authority of today", "one of an older version"} {
		t.Run(from, func(t *testing.T) {
			s := memory.New()
			m := &machine{now: start, addresses: []string{"192.0.2.1"}}
			dir := t.TempDir()
			old := from != "an authority of today"
			if old {
				legacy(t, dir, start)
			}
			a := open(t, dir, m.on(s))
			b := open(t, t.TempDir(), m.on(s))
			first, firstRoot, firstID := a.Fingerprint(), a.keys.signer.cert, a.ID()
			agent, err := a.SignAgent(p256(t).Public(), "weft://default/dataplane/web", m.now)
			must(t, err)
			refresh := func() {
				t.Helper()
				for _, o := range []*Own{a, b} {
					if _, err := o.Refresh(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
			// verify wants a server to be taken by who knows root alone.
			verify := func(who string, root *x509.Certificate, want bool) {
				t.Helper()
				for _, o := range []*Own{a, b} {
					c, err := o.GetCertificate(nil)
					must(t, err)
					roots, between := x509.NewCertPool(), x509.NewCertPool()
					roots.AddCert(root)
					for _, der := range c.Certificate[1:] {
						one, err := x509.ParseCertificate(der)
						must(t, err)
						between.AddCert(one)
					}
					_, err = c.Leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: m.now, DNSName: "192.0.2.1"})
					if (err == nil) != want {
						t.Errorf("%s: server taken %t, want %t: %v", who, err == nil, want, err)
					}
				}
			}
			letIn := func(who string, agent []byte, want bool) {
				t.Helper()
				leaf, err := parseCert(agent)
				must(t, err)
				_, err = leaf.Verify(x509.VerifyOptions{Roots: b.Pool(), CurrentTime: m.now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
				if (err == nil) != want {
					t.Errorf("%s: let in %t, want %t: %v", who, err == nil, want, err)
				}
			}
			// pinned finds what a host that joins by a token of that hash takes.
			pinned := func(hash string) *x509.Certificate {
				t.Helper()
				c, err := a.GetCertificate(nil)
				must(t, err)
				var found *x509.Certificate
				for _, der := range c.Certificate[1:] {
					one, err := x509.ParseCertificate(der)
					must(t, err)
					if (authority{cert: one}).fingerprint() == hash {
						found = one
					}
				}
				if found == nil || found.CheckSignatureFrom(found) != nil {
					t.Fatalf("no authority of hash %.12s is shown that is its own", hash)
				}
				return found
			}

			must(t, a.BeginRotation(t.Context(), Options{Wait: time.Second, Patience: time.Hour}))
			if err := b.BeginRotation(t.Context(), Options{}); !errors.Is(err, ErrRotating) {
				t.Errorf("a second one: %v", err)
			}
			must(t, b.EndRotation(t.Context()))
			must(t, b.BeginRotation(t.Context(), Options{Wait: time.Second, Patience: time.Hour}))
			refresh()
			if n := bytes.Count(a.Authorities(), []byte("BEGIN")); n != 2 || a.Fingerprint() != first || a.Rotates() != Spread {
				t.Errorf("%d authorities, %s signs, stage %s", n, a.Fingerprint(), a.Rotates())
			}
			next := a.keys.trusted[1]
			verify("who knows the old one", firstRoot, true)
			letIn("who has a certificate of the old one", agent, true)
			if to, why, err := a.Advance(t.Context(), 2); to != "" || err != nil {
				t.Errorf("went on to %q: %s, %v", to, why, err)
			}
			m.now = m.now.Add(2 * time.Second)
			must(t, a.Report(t.Context(), "a", Report{At: m.now, Stage: Spread, Hosts: 1, Ready: 1}))
			if to, why, err := a.Advance(t.Context(), 2); to != "" || err != nil {
				t.Errorf("went on to %q though one host is missing: %s, %v", to, why, err)
			}
			must(t, b.Report(t.Context(), "b", Report{At: m.now, Stage: Spread, Hosts: 1, Ready: 1}))
			if to, why, err := b.Advance(t.Context(), 2); to != Renew || err != nil {
				t.Errorf("went on to %q: %s, %v", to, why, err)
			}
			refresh()
			verify("who knows both", next, true)
			verify("who knows the old one alone", firstRoot, !old)
			verify("who joins by an old token", pinned(first), true)
			verify("who joins by a new token", pinned(b.Fingerprint()), true)
			letIn("who has a certificate of the old one", agent, true)
			if err := a.EndRotation(t.Context()); !errors.Is(err, ErrRotating) {
				t.Errorf("given up too late: %v", err)
			}
			renewed, err := b.SignAgent(p256(t).Public(), "weft://default/dataplane/web", m.now)
			must(t, err)
			letIn("who has a certificate of the new one", renewed, true)
			// Who has just joined by an old token has to believe his own certificate.
			roots, between := x509.NewCertPool(), x509.NewCertPool()
			roots.AddCert(pinned(first))
			between.AppendCertsFromPEM(renewed)
			leaf, err := parseCert(renewed)
			must(t, err)
			if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: m.now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
				t.Errorf("a certificate by an old token: %v", err)
			}

			m.now = m.now.Add(2 * time.Hour) // those that are away are not waited for
			if to, _, err := b.Advance(t.Context(), 2); to != "done" || err != nil {
				t.Errorf("went on to %q, %v", to, err)
			}
			refresh()
			if a.Rotates() != "" || a.Fingerprint() == first || a.ID() != firstID || bytes.Count(a.Authorities(), []byte("BEGIN")) != 1 {
				t.Errorf("stage %q, %s signs, first was %s", a.Rotates(), a.Fingerprint(), first)
			}
			letIn("who has a certificate of the old one", agent, false)
			letIn("who has a certificate of the new one", renewed, true)
			verify("who joins by an old token", pinned(first), true)
			if a.Trusts(firstRoot) || !a.Trusts(next) {
				t.Error("the old authority is believed, or the new one is not")
			}
			if open(t, t.TempDir(), m.on(s)).Fingerprint() != a.Fingerprint() {
				t.Error("one that comes later has another authority")
			}
			if st, err := a.Status(t.Context(), 2); err != nil || st.Former != first || st.Rotation != nil {
				t.Errorf("status %+v, %v", st, err)
			}
		})
	}
}
