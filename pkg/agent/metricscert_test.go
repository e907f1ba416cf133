package agent

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newPair makes a certificate and its key.
func newPair(t *testing.T) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"web.example.com"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

func TestPairFile(t *testing.T) {
	if cert, key, version := (&pairFile{}).read(); cert != nil || key != nil || version != "" {
		t.Error("a host without a certificate has one")
	}
	dir := t.TempDir()
	var log bytes.Buffer
	f := &pairFile{cert: filepath.Join(dir, "cert"), key: filepath.Join(dir, "key"), log: slog.New(slog.NewTextHandler(&log, nil))}
	put := func(path string, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, version := f.read(); version != "" {
		t.Error("there is no file, and it was read")
	}
	cert1, key1 := newPair(t)
	put(f.cert, cert1)
	put(f.key, key1)
	_, _, first := f.read()
	if first == "" {
		t.Fatalf("was not read: %s", &log)
	}
	// In the middle of an exchange they do not fit.
	cert2, key2 := newPair(t)
	put(f.cert, cert2)
	for range 2 {
		if cert, key, version := f.read(); !bytes.Equal(cert, cert1) || !bytes.Equal(key, key1) || version != first {
			t.Error("half an exchange was taken")
		}
	}
	put(f.key, key2)
	if cert, key, version := f.read(); !bytes.Equal(cert, cert2) || !bytes.Equal(key, key2) || version == first || version == "" {
		t.Error("the exchange was not taken")
	}
	if n := strings.Count(log.String(), "was not read"); n != 2 {
		t.Errorf("told %d times, want once for each time that it began:\n%s", n, &log)
	}
}
