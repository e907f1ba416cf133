package identity

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/rand/v2"
	"time"
)

// anew is a certificate that the control plane wants this host to have; the zero
// value is none.
type anew struct {
	authority string
	at        time.Time // when it is asked for
	done      func()
}

// Trust puts in force whom the workload's peers are verified with, in PEM, and
// returns then. What is the same already changes nothing; a host without a
// certificate gets its roots with the first.
func (i *Identity) Trust(roots []byte) error {
	if len(certs(roots)) == 0 {
		return errors.New("whom to trust: there is no certificate in PEM")
	}
	i.mu.Lock()
	if i.workload.leaf == nil || bytes.Equal(i.roots, roots) {
		i.mu.Unlock()
		return nil
	}
	i.roots = bytes.Clone(roots)
	i.unsaved[workloadName] = true
	i.tell()
	i.mu.Unlock()
	i.save()
	i.log().Info("mesh's authorities changed", "dataplane", i.id.String(), "roots", fingerprints(roots))
	return nil
}

// IssueBy makes Run ask for a new workload certificate within spread, unless the
// present one is of that authority: the SHA-256 of its SubjectPublicKeyInfo, in
// hex. done is called once it is, or once there is none, unless another call
// came since.
func (i *Identity) IssueBy(authority string, spread time.Duration, done func()) {
	i.mu.Lock()
	i.anew = anew{authority: authority, at: i.now().Add(rand.N(max(spread, time.Nanosecond))), done: done}
	at := i.anew.at
	done = i.settleAnew()
	i.mu.Unlock()
	if done != nil {
		done()
		return
	}
	i.log().Info("another authority signs in the mesh", "dataplane", i.id.String(), "authority", authority, "asking_at", at)
	i.poke()
}

// settleAnew returns what to call where the wanted certificate is there. It is
// called with the lock.
func (i *Identity) settleAnew() func() {
	if i.anew.authority == "" || i.workload.leaf != nil && issuer(i.workload, i.roots) != i.anew.authority {
		return nil
	}
	done := i.anew.done
	i.anew = anew{}
	return done
}

// issuer is who signed a certificate, of its chain or of the roots; "" where
// neither has it.
func issuer(p pair, roots []byte) string {
	for _, c := range append(certs(p.cert)[1:], certs(roots)...) {
		if p.leaf.CheckSignatureFrom(c) == nil {
			return fingerprint(c)
		}
	}
	return ""
}

func fingerprints(data []byte) (all []string) {
	for _, c := range certs(data) {
		all = append(all, fingerprint(c))
	}
	return all
}

// certs reads every certificate in PEM; what is none is passed over.
func certs(data []byte) (all []*x509.Certificate) {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return all
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			all = append(all, c)
		}
	}
}
