package ca

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"testing"
	"time"
)

// provide makes an authority as its owner would bring it: a root or, where one
// is given, an authority below that, with the root behind it.
func provide(t *testing.T, w *world, root, rootKey []byte) (cert, key []byte) {
	t.Helper()
	key, err := newCAKey(0)
	must(t, err)
	signer, err := parseSigner(key)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "theirs"}, NotBefore: w.now.Add(-time.Minute), NotAfter: w.now.Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}
	parent, by := template, signer
	if root != nil {
		template.Subject.CommonName = "theirs, below"
		parent, err = parseCert(root)
		must(t, err)
		by, err = parseSigner(rootKey)
		must(t, err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, signer.Public(), by)
	must(t, err)
	return append(certPEM(der), root...), key
}

// verified wants a certificate that leads to the roots that came with it.
func verified(t *testing.T, w *world, issued Issued) {
	t.Helper()
	leaf, err := parseCert(issued.Certificate)
	must(t, err)
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(issued.Roots)
	between.AppendCertsFromPEM(issued.Certificate)
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: w.now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		t.Error(err)
	}
}
