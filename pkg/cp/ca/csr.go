package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
)

// ErrCSR is what every error of ParseCSR wraps.
var ErrCSR = errors.New("certificate request cannot be used")

// maxCSR is far above what a request with an RSA-4096 key takes (1.7 kB).
const maxCSR = 8 << 10

// ParseCSR returns the public key of a PKCS #10 request in DER, once the
// request is shown to be signed with the key's other half. Everything else in
// it (names, extensions, wishes) is ignored: who the key belongs to is said by
// the credential that came with the request.
//
// Keys may be ECDSA P-256, Ed25519, or RSA of 2048 to 4096 bits with the usual
// exponent. The key is looked at before anything is computed with it.
func ParseCSR(der []byte) (crypto.PublicKey, error) {
	if len(der) == 0 || len(der) > maxCSR {
		return nil, fmt.Errorf("%w: it has %d bytes, allowed are 1 to %d", ErrCSR, len(der), maxCSR)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("%w: it is no PKCS #10 request in DER", ErrCSR)
	}
	if err := checkKey(csr.PublicKey); err != nil {
		return nil, err
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("%w: it is not signed by its own key", ErrCSR)
	}
	return csr.PublicKey, nil
}

func checkKey(pub crypto.PublicKey) error {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return nil
		}
	case ed25519.PublicKey:
		if len(k) == ed25519.PublicKeySize {
			return nil
		}
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits >= 2048 && bits <= 4096 && k.E == 65537 {
			return nil
		}
	}
	return fmt.Errorf("%w: its key must be ECDSA P-256, Ed25519, or RSA of 2048 to 4096 bits", ErrCSR)
}
