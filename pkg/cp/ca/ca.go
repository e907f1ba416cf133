// Package ca holds the two kinds of authority of a control plane: its own,
// by which it and its hosts know each other, and one per mesh, by which
// workloads know each other.
//
// An authority only signs: it sees public keys. The private keys that belong
// to certificates are made on the hosts and stay there.
package ca

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"time"
)

// backdate is how far certificates are dated back, so that a host whose clock
// is some minutes behind can use them at once.
const backdate = 5 * time.Minute

// notBefore dates a certificate back, by at most a tenth of its life: a very
// short one would otherwise be past its half, where it renews, when it is new.
func notBefore(now time.Time, life time.Duration) time.Time {
	return now.Add(-min(backdate, life/10))
}

// serial is 128 random bits, never 0.
func serial() *big.Int {
	var b [16]byte
	for {
		_, _ = rand.Read(b[:]) // never fails
		if n := new(big.Int).SetBytes(b[:]); n.Sign() > 0 {
			return n
		}
	}
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// uri parses one URI SAN. It must come back from the certificate exactly as it
// went in, since peers compare text.
func uri(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%q cannot be an identity: it is no URI", text)
	}
	if u.String() != text || u.Host == "" || u.User != nil || u.Fragment != "" || u.ForceQuery {
		return nil, fmt.Errorf("%q cannot be an identity: its names may have letters, digits, '-', '.' and '_' only", text)
	}
	return u, nil
}

func parseCert(data []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("is no PEM block of type CERTIFICATE")
	}
	return x509.ParseCertificate(block.Bytes)
}
