package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"net"
	"net/url"
	"testing"
)

func request(t testing.TB, key crypto.Signer, change func(*x509.CertificateRequest)) []byte {
	t.Helper()
	template := &x509.CertificateRequest{}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func p256(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	return curve(t, elliptic.P256())
}

func curve(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestParseCSRTakesOnlyTheKey(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	everything := func(r *x509.CertificateRequest) {
		u1, _ := url.Parse("spiffe://default/admin")
		u2, _ := url.Parse("spiffe://default/user:pw@x%2Fy?q=1")
		r.Subject = pkix.Name{CommonName: "root"}
		r.URIs = []*url.URL{u1, u2}
		r.DNSNames = []string{"*.example.com"}
		r.IPAddresses = []net.IP{net.IPv4zero}
		isCA, _ := asn1.Marshal(struct{ CA bool }{true})
		r.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: isCA}}
	}
	for name, key := range map[string]crypto.Signer{"p256": p256(t), "ed25519": ed, "rsa2048": rsaKey(t, 2048)} {
		t.Run(name, func(t *testing.T) {
			for _, der := range [][]byte{request(t, key, nil), request(t, key, everything)} {
				pub, err := ParseCSR(der)
				if err != nil {
					t.Fatal(err)
				}
				if !samePublic(pub, key.Public()) {
					t.Error("another key came out")
				}
			}
		})
	}
}

func TestParseCSRRefuses(t *testing.T) {
	good := request(t, p256(t), nil)
	broken := bytes.Clone(good)
	broken[len(broken)-1] ^= 1
	tests := map[string][]byte{
		"nothing":           nil,
		"no DER":            []byte("-----BEGIN CERTIFICATE REQUEST-----"),
		"cut short":         good[:len(good)-3],
		"more behind":       append(bytes.Clone(good), 0),
		"wrong signature":   broken,
		"10 MB":             append(bytes.Clone(good), make([]byte, 10<<20)...),
		"P-224":             request(t, curve(t, elliptic.P224()), nil),
		"P-384":             request(t, curve(t, elliptic.P384()), nil),
		"RSA-1024":          oddRSA(t, 1024, 65537),
		"RSA-16384":         oddRSA(t, 16384, 65537),
		"RSA with e=1":      oddRSA(t, 2048, 1),
		"RSA with e=3":      oddRSA(t, 2048, 3),
		"two requests long": append(bytes.Clone(good), good...),
	}
	for name, der := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseCSR(der); !errors.Is(err, ErrCSR) {
				t.Errorf("error %v, want ErrCSR", err)
			}
		})
	}
}

// oddRSA is a request with a key that no library would make. Its signature is
// nonsense: the key must be refused before anybody computes with it.
func oddRSA(t testing.TB, bits, exponent int) []byte {
	t.Helper()
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	n.SetBit(n, 0, 1)
	pub, err := asn1.Marshal(struct {
		N *big.Int
		E int
	}{n, exponent})
	if err != nil {
		t.Fatal(err)
	}
	type spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	type info struct {
		Version    int
		Subject    asn1.RawValue
		Key        spki
		Attributes asn1.RawValue `asn1:"tag:0"`
	}
	null := asn1.RawValue{Tag: asn1.TagNull}
	der, err := asn1.Marshal(struct {
		Info      info
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{
		info{
			Subject:    asn1.RawValue{FullBytes: []byte{0x30, 0}},
			Key:        spki{pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}, Parameters: null}, asn1.BitString{Bytes: pub, BitLength: len(pub) * 8}},
			Attributes: asn1.RawValue{FullBytes: []byte{0xa0, 0}},
		},
		pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, Parameters: null},
		asn1.BitString{Bytes: make([]byte, 256), BitLength: 2048},
	})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestOddRSAIsReadable(t *testing.T) { // else the cases above prove nothing
	csr, err := x509.ParseCertificateRequest(oddRSA(t, 16384, 65537))
	if err != nil {
		t.Fatal(err)
	}
	if bits := csr.PublicKey.(*rsa.PublicKey).N.BitLen(); bits != 16384 {
		t.Errorf("%d bits", bits)
	}
}

func FuzzParseCSR(f *testing.F) {
	f.Add(request(f, p256(f), nil))
	f.Add(oddRSA(f, 2048, 1))
	f.Add([]byte{0x30, 0x80})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, der []byte) {
		pub, err := ParseCSR(der)
		if (err == nil) == (pub == nil) {
			t.Errorf("key %v with error %v", pub, err)
		}
		if err == nil && checkKey(pub) != nil {
			t.Error("a key came out that is not allowed")
		}
	})
}
