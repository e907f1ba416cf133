package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// A pair is a private key and the certificate of its other half.
type pair struct {
	key    *ecdsa.PrivateKey
	keyPEM []byte
	cert   []byte // PEM: leaf, then chain
	leaf   *x509.Certificate
}

// newKey makes a key and the request to certify it. The request names nobody:
// who we are is said by what it is sent with.
func newKey() (p pair, csr []byte, err error) {
	if p.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return p, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		return p, nil, err
	}
	p.keyPEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	csr, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{}}, p.key)
	return p, csr, err
}

// certified returns p with its certificate, which must be the one of its key
// and lead to one of the roots.
func (p pair) certified(cert []byte, roots *x509.CertPool, use x509.ExtKeyUsage, now time.Time) (pair, error) {
	leaf, err := parseCert(cert)
	if err != nil {
		return p, err
	}
	if !p.key.PublicKey.Equal(leaf.PublicKey) {
		return p, errors.New("the certificate is for another key")
	}
	between := x509.NewCertPool()
	between.AppendCertsFromPEM(cert)
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{use}}); err != nil {
		return p, fmt.Errorf("the certificate is not what this host can use (is its clock right?): %w", err)
	}
	p.cert, p.leaf = cert, leaf
	return p, nil
}

// tls is how p is shown in a handshake.
func (p pair) tls() *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{p.leaf.Raw}, PrivateKey: p.key, Leaf: p.leaf}
}

// pairOf reads a key and its certificate, which must belong together.
func pairOf(d document) (p pair, err error) {
	if p.leaf, err = parseCert(d.cert); err != nil {
		return p, fmt.Errorf("its certificate %w", err)
	}
	block, _ := pem.Decode(d.key)
	if block == nil {
		return p, errors.New("it has no private key")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	ec, ok := key.(*ecdsa.PrivateKey)
	if err != nil || !ok {
		return p, errors.New("its key is no ECDSA key") // the cause could quote key material
	}
	if !ec.PublicKey.Equal(p.leaf.PublicKey) {
		return p, errors.New("its key and its certificate do not belong together")
	}
	p.key, p.keyPEM, p.cert = ec, d.key, d.cert
	return p, nil
}

func parseCert(data []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("is no certificate in PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}

func certPEM(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}
