package postgres

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testpg"
	"github.com/weft-mesh/weft/pkg/cp/store"
)

// TestServerMustBeKnown: away from this machine nobody is believed for his
// address.
func TestServerMustBeKnown(t *testing.T) {
	for _, test := range []struct {
		dsn     string
		refused bool
	}{
		{"postgres://weft@db.example.com/weft", true}, // sslmode=prefer
		{"postgres://weft@db.example.com/weft?sslmode=require", true},
		{"host=10.0.0.1 user=weft sslmode=allow", true},
		{"postgres://weft@127.0.0.1,db.example.com/weft?sslmode=prefer", true},
		{"postgres://weft@db.example.com/weft?sslmode=verify-full", false},
		{"postgres://weft@db.example.com/weft?sslmode=disable", false},
		{"postgres://weft@127.0.0.1/weft", false},
		{"postgres://weft@[::1]/weft", false},
		{"host=/run/postgresql user=weft", false},
	} {
		_, err := parse(Options{DSN: test.dsn})
		if refused := errors.Is(err, ErrDSN); refused != test.refused || !refused && err != nil {
			t.Errorf("%s: error %v, want refused: %t", test.dsn, err, test.refused)
		}
	}
	_, err := parse(Options{DSN: "postgres://weft:secret%zz@db/weft"})
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a DSN that cannot be read: %v; want an error without the password", err)
	}
}

// TestTLS verifies a real server, and shows it a certificate.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	ours, others := newAuthority(t), newAuthority(t)
	ours.issue(t, dir, "client", "weft")
	ca, wrong := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "wrong.crt")
	ours.write(t, ca)
	others.write(t, wrong)

	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	pg := testpg.New(t, nil, "listen_addresses=127.0.0.1", "port="+port, "ssl=on", "ssl_ca_file=ca.crt", "ssl_cert_file=server.crt", "ssl_key_file=server.key")
	ours.issue(t, pg.Data(), "server", "localhost")
	ours.write(t, filepath.Join(pg.Data(), "ca.crt"))
	pg.Own(t)
	pg.Start(t)

	dsn := "postgres://weft@localhost:" + port + "/postgres"
	for _, test := range []struct {
		name  string
		o     Options
		words string // "": it works
	}{
		{"known, with a certificate", Options{DSN: dsn, TLSCA: ca, TLSCert: filepath.Join(dir, "client.crt"), TLSKey: filepath.Join(dir, "client.key")}, ""},
		{"known", Options{DSN: dsn, TLSCA: ca}, ""},
		{"another authority", Options{DSN: dsn, TLSCA: wrong}, "unknown authority"},
		{"another name", Options{DSN: strings.ReplaceAll(dsn, "localhost", "127.0.0.1"), TLSCA: ca}, "certificate"},
		{"no such file", Options{DSN: dsn, TLSCA: filepath.Join(dir, "none")}, "authority of the store"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Status(t.Context(), test.o)
			if test.words == "" && err != nil || test.words != "" && (err == nil || !strings.Contains(err.Error(), test.words)) {
				t.Errorf("error %v, want %q", err, test.words)
			}
		})
	}
}

func TestNobodyThere(t *testing.T) {
	_, err := Open(t.Context(), Options{DSN: "host=" + t.TempDir() + " user=weft"})
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("error is %v, want one that wraps %q", err, store.ErrUnavailable)
	}
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	a := authority{key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err == nil {
		a.cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a authority) write(t *testing.T, file string) {
	t.Helper()
	writePEM(t, file, "CERTIFICATE", a.cert.Raw)
}

// issue writes <name>.crt and <name>.key in dir.
func (a authority) issue(t *testing.T, dir, name, host string) {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(dir, name+".crt"), "CERTIFICATE", der)
	writePEM(t, filepath.Join(dir, name+".key"), "PRIVATE KEY", private)
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
