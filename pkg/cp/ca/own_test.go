package ca

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pkg/keyfile"
)

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

type machine struct {
	now       time.Time
	addresses []string
	fail      error
}

func (m *machine) options(advertise ...string) OwnOptions {
	return OwnOptions{
		Advertise: advertise,
		Addresses: func() ([]string, error) { return m.addresses, m.fail },
		Now:       func() time.Time { return m.now },
	}
}

func open(t *testing.T, dir string, o OwnOptions) *Own {
	t.Helper()
	own, err := OpenOwn(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return own
}

func TestOwnIsMadeOnceAndLoaded(t *testing.T) {
	dir := t.TempDir()
	m := &machine{now: start}
	first := open(t, dir, m.options())
	second := open(t, dir, m.options())
	if first.Fingerprint() != second.Fingerprint() || !bytes.Equal(first.PEM(), second.PEM()) {
		t.Error("the second start has another authority")
	}
	cert, err := parseCert(first.PEM())
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo); hex.EncodeToString(sum[:]) != first.Fingerprint() {
		t.Error("the fingerprint is not the SHA-256 of the key")
	}
	if life := cert.NotAfter.Sub(start); life != 10*365*24*time.Hour || !cert.IsCA || cert.PublicKeyAlgorithm != x509.ECDSA {
		t.Errorf("authority: life %s, CA %v, %s", life, cert.IsCA, cert.PublicKeyAlgorithm)
	}
	if info, _ := os.Stat(filepath.Join(dir, "ca.key")); info.Mode().Perm() != 0o600 {
		t.Errorf("key has mode %v", info.Mode())
	}
	// Without the certificate (a crash at first start) the same key goes on.
	if err := os.Remove(filepath.Join(dir, "ca.crt")); err != nil {
		t.Fatal(err)
	}
	if third := open(t, dir, m.options()); third.Fingerprint() != first.Fingerprint() {
		t.Error("the authority changed though its key was there")
	}
}

func TestOwnFirstStartsAtOnce(t *testing.T) {
	dir := t.TempDir()
	prints := make(chan string)
	for range 4 {
		go func() {
			own, err := OpenOwn(t.Context(), dir, (&machine{now: start}).options())
			if err != nil {
				prints <- err.Error()
				return
			}
			prints <- own.Fingerprint()
		}()
	}
	first := <-prints
	for range 3 {
		if got := <-prints; got != first {
			t.Errorf("two authorities: %s and %s", first, got)
		}
	}
}

func TestOwnRefusesFilesThatCannotBeTrusted(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(t *testing.T, key, crt string)
		want  string
		is    error
	}{
		{"loose key", func(t *testing.T, key, _ string) { must(t, os.Chmod(key, 0o640)) }, "chmod 600", keyfile.ErrExposed},
		{"key is a symlink", func(t *testing.T, key, _ string) {
			must(t, os.Rename(key, key+".2"))
			must(t, os.Symlink(key+".2", key))
		}, "symbolic link", keyfile.ErrExposed},
		{"key is lost", func(t *testing.T, key, _ string) { must(t, os.Remove(key)) }, "put the key back from a backup", nil},
		{"key is empty", func(t *testing.T, key, _ string) { must(t, os.WriteFile(key, nil, 0o600)) }, "is no PEM", nil},
		{"another's certificate", func(t *testing.T, _, crt string) {
			must(t, os.WriteFile(crt, open(t, t.TempDir(), (&machine{now: start}).options()).PEM(), 0o600))
		}, "is not the certificate of", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			open(t, dir, (&machine{now: start}).options())
			tt.spoil(t, filepath.Join(dir, "ca.key"), filepath.Join(dir, "ca.crt"))
			_, err := OpenOwn(t.Context(), dir, (&machine{now: start}).options())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error %v is not %v", err, tt.is)
			}
		})
	}
	t.Run("expired", func(t *testing.T) {
		dir := t.TempDir()
		open(t, dir, (&machine{now: start}).options())
		_, err := OpenOwn(t.Context(), dir, (&machine{now: start.AddDate(11, 0, 0)}).options())
		if err == nil || !strings.Contains(err.Error(), "expired on 2036-11-20: check the clock") {
			t.Errorf("error %v", err)
		}
	})
}

func TestServerCertificate(t *testing.T) {
	m := &machine{now: start, addresses: []string{"192.0.2.1", "2001:db8::1"}}
	own := open(t, t.TempDir(), m.options("cp.example.com:5678", "[2001:db8::9]:5678", "198.51.100.7"))
	get := func() *tls.Certificate {
		t.Helper()
		c, err := own.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := get()
	host, _ := os.Hostname()
	for _, name := range []string{"127.0.0.1", "::1", "localhost", host, "192.0.2.1", "2001:db8::1", "cp.example.com", "2001:db8::9", "198.51.100.7"} {
		if _, err := c.Leaf.Verify(x509.VerifyOptions{Roots: own.Pool(), DNSName: name, CurrentTime: start}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := c.Leaf.VerifyHostname("192.0.2.2"); err == nil {
		t.Error("valid for a stranger's address")
	}
	if len(c.Certificate) != 2 || !bytes.Equal(c.Certificate[1], own.keys.signer.cert.Raw) {
		t.Error("the chain does not hold the authority")
	}
	if _, err := c.Leaf.Verify(x509.VerifyOptions{Roots: own.Pool(), CurrentTime: start, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err == nil {
		t.Error("the server's certificate passes for an agent's")
	}
	if life := c.Leaf.NotAfter.Sub(start); life != 90*24*time.Hour {
		t.Errorf("lives %s", life)
	}

	m.now = start.Add(44 * 24 * time.Hour)
	if get() != c {
		t.Error("made anew before half of its life")
	}
	m.now = start.Add(46 * 24 * time.Hour)
	renewed := get()
	if renewed == c {
		t.Error("not renewed past half of its life")
	}
	m.addresses = append(m.addresses, "203.0.113.5")
	if get() != renewed {
		t.Error("addresses were looked at again within the minute")
	}
	m.now = m.now.Add(2 * time.Minute)
	changed := get()
	if err := changed.Leaf.VerifyHostname("203.0.113.5"); err != nil {
		t.Errorf("new address: %v", err)
	}
	m.now = m.now.Add(2 * time.Minute)
	m.fail = errors.New("no netlink")
	if get() != changed {
		t.Error("a failure to read addresses changed the certificate")
	}
}

// A connection to an address that the certificate lacks is looked into at once.
func TestServerCertificateForAnAddressJustAdded(t *testing.T) {
	m := &machine{now: start}
	own := open(t, t.TempDir(), m.options())
	if _, err := own.GetCertificate(nil); err != nil {
		t.Fatal(err)
	}
	m.addresses = []string{"127.0.0.9"}
	l, err := net.Listen("tcp", "127.0.0.9:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	c, err := own.GetCertificate(&tls.ClientHelloInfo{Conn: accepted})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Leaf.VerifyHostname("127.0.0.9"); err != nil {
		t.Error(err)
	}
}

func TestSignAgent(t *testing.T) {
	own := open(t, t.TempDir(), (&machine{now: start}).options())
	const id = "weft://default/dataplane/web-1?kuma.io%2Fservice=web"
	data, err := own.SignAgent(p256(t).Public(), id, start)
	if err != nil {
		t.Fatal(err)
	}
	c, err := parseCert(data)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.URIs) != 1 || c.URIs[0].String() != id || len(c.DNSNames)+len(c.IPAddresses) > 0 || c.IsCA {
		t.Errorf("names %v %v %v, CA %v", c.URIs, c.DNSNames, c.IPAddresses, c.IsCA)
	}
	if life := c.NotAfter.Sub(start); life != 30*24*time.Hour {
		t.Errorf("lives %s", life)
	}
	for use, ok := range map[x509.ExtKeyUsage]bool{x509.ExtKeyUsageClientAuth: true, x509.ExtKeyUsageServerAuth: false} {
		_, err := c.Verify(x509.VerifyOptions{Roots: own.Pool(), CurrentTime: start, KeyUsages: []x509.ExtKeyUsage{use}})
		if (err == nil) != ok {
			t.Errorf("use %v: %v", use, err)
		}
	}
	for _, bad := range []string{"", "no uri\x00", "weft:///dataplane/x", "weft://a@b/dataplane/x", "weft://m/d/x#f", "weft://m/a b"} {
		if _, err := own.SignAgent(p256(t).Public(), bad, start); err == nil {
			t.Errorf("signed %q", bad)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
