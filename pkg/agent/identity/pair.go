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
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/weft-mesh/weft/pkg/keyfile"
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
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{use}}); err != nil {
		return p, fmt.Errorf("the certificate is not what this host can use (is its clock right?): %w", err)
	}
	p.cert, p.leaf = cert, leaf
	return p, nil
}

// tls is how p is shown in a handshake.
func (p pair) tls() *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{p.leaf.Raw}, PrivateKey: p.key, Leaf: p.leaf}
}

func keyPath(dir, name string) string  { return filepath.Join(dir, name+".key") }
func nextPath(dir, name string) string { return filepath.Join(dir, name+".key.next") }
func certPath(dir, name string) string { return filepath.Join(dir, name+".crt") }

// save puts both files in place. Two files cannot change in one step, so the
// new key lies beside the old until the certificate is there; loadPair finishes
// what a crash left.
func (p pair) save(dir, name string) error {
	if err := keyfile.Write(nextPath(dir, name), p.keyPEM); err != nil {
		return err
	}
	if err := keyfile.Write(certPath(dir, name), p.cert); err != nil {
		return err
	}
	return keyfile.Rename(nextPath(dir, name), keyPath(dir, name))
}

// loadPair reads what save wrote. It fails with fs.ErrNotExist where nothing
// was ever saved.
func loadPair(dir, name string) (pair, error) {
	cert, err := keyfile.ReadPublic(certPath(dir, name))
	if err != nil {
		return pair{}, err
	}
	leaf, err := parseCert(cert)
	if err != nil {
		return pair{}, fmt.Errorf("%s.crt: %w", name, err)
	}
	for _, path := range []string{keyPath(dir, name), nextPath(dir, name)} {
		p, err := loadKey(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return pair{}, err
		}
		if !p.key.PublicKey.Equal(leaf.PublicKey) {
			continue
		}
		if path == nextPath(dir, name) {
			if err := keyfile.Rename(path, keyPath(dir, name)); err != nil {
				return pair{}, err
			}
		}
		p.cert, p.leaf = cert, leaf
		return p, nil
	}
	return pair{}, fmt.Errorf("%s: there is no %s.key that belongs to %s.crt", dir, name, name)
}

func loadKey(path string) (p pair, err error) {
	if p.keyPEM, err = keyfile.Read(path); err != nil {
		return p, err
	}
	block, _ := pem.Decode(p.keyPEM)
	if block == nil || block.Type != "PRIVATE KEY" {
		return p, fmt.Errorf("%s is no private key in PEM", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	ec, ok := key.(*ecdsa.PrivateKey)
	if err != nil || !ok {
		return p, fmt.Errorf("%s is no ECDSA key", path) // the cause could quote key material
	}
	p.key = ec
	return p, nil
}

// removePair forgets a pair; it succeeds when there is none.
func removePair(dir, name string) error {
	var errs []error
	for _, path := range []string{certPath(dir, name), keyPath(dir, name), nextPath(dir, name)} {
		errs = append(errs, removeFile(path))
	}
	return errors.Join(errs...)
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
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
