package ca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/memory"
	"github.com/weft-mesh/weft/pkg/mesh"
)

func spec(change func(*mesh.MTLSBackend)) *mesh.MeshSpec {
	be := mesh.MTLSBackend{Name: "ca-1", Type: "builtin"}
	if change != nil {
		change(&be)
	}
	return &mesh.MeshSpec{MTLS: &mesh.MTLS{EnabledBackend: "ca-1", Backends: []mesh.MTLSBackend{be}}}
}

func caConf(bits uint32, expiration string) func(*mesh.MTLSBackend) {
	return func(be *mesh.MTLSBackend) {
		be.Conf = &mesh.BackendConf{CACert: &mesh.BuiltinCACert{RSAbits: bits, Expiration: expiration}}
	}
}

func builtin(now *time.Time) *Meshes {
	return &Meshes{Store: memory.New(), Now: func() time.Time { return *now }}
}

func sign(t *testing.T, b *Meshes, name string, s *mesh.MeshSpec, life time.Duration) (*x509.Certificate, *x509.Certificate, Issued) {
	t.Helper()
	issued, err := b.Sign(t.Context(), name, s, []string{"spiffe://" + name + "/web", "kuma://kuma.io/service/web"}, p256(t).Public(), life)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := parseCert(issued.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	root, err := parseCert(issued.Roots)
	if err != nil {
		t.Fatal(err)
	}
	return leaf, root, issued
}

func TestBuiltinSigns(t *testing.T) {
	now := start
	b := builtin(&now)
	must(t, b.Ensure(t.Context(), "default", spec(nil)))
	leaf, root, issued := sign(t, b, "default", spec(nil), mesh.DefaultCertLifetime)

	if _, ok := root.PublicKey.(*ecdsa.PublicKey); !ok || root.NotAfter.Sub(start) != ownLife || root.URIs[0].String() != "spiffe://default" {
		t.Errorf("authority: %T, until %s, %v", root.PublicKey, root.NotAfter, root.URIs)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: start, KeyUsages: []x509.ExtKeyUsage{use}}); err != nil {
			t.Error(err)
		}
	}
	if got := leaf.URIs; len(got) != 2 || got[0].String() != "spiffe://default/web" || got[1].String() != "kuma://kuma.io/service/web" {
		t.Errorf("names %v", got)
	}
	if leaf.IsCA || len(leaf.DNSNames)+len(leaf.IPAddresses)+len(leaf.EmailAddresses) > 0 || leaf.Subject.String() != "" {
		t.Errorf("the leaf says more than its URIs: %v %v %v", leaf.IsCA, leaf.DNSNames, leaf.Subject)
	}
	if leaf.KeyUsage != x509.KeyUsageDigitalSignature|x509.KeyUsageKeyAgreement {
		t.Errorf("key usage %b", leaf.KeyUsage)
	}
	if leaf.NotBefore != start.Add(-5*time.Minute) || leaf.NotAfter != start.Add(mesh.DefaultCertLifetime) || issued.Expires != leaf.NotAfter {
		t.Errorf("from %s to %s", leaf.NotBefore, leaf.NotAfter)
	}
	again, _, _ := sign(t, b, "default", spec(nil), mesh.DefaultCertLifetime)
	if again.SerialNumber.Cmp(leaf.SerialNumber) == 0 || leaf.SerialNumber.BitLen() < 64 || leaf.SerialNumber.BitLen() > 128 {
		t.Errorf("serials %x and %x", leaf.SerialNumber, again.SerialNumber)
	}
}

func TestShortLivesAreNotBornOld(t *testing.T) {
	now := start
	b := builtin(&now)
	must(t, b.Ensure(t.Context(), "default", spec(nil)))
	leaf, _, _ := sign(t, b, "default", spec(nil), time.Minute)
	if half(leaf).Before(start.Add(20 * time.Second)) {
		t.Errorf("half of a minute's life is at %s after start", half(leaf).Sub(start))
	}
}

func TestLeafNeverOutlivesItsAuthority(t *testing.T) {
	now := start
	b := builtin(&now)
	s := spec(caConf(0, "2d"))
	must(t, b.Ensure(t.Context(), "default", s))
	leaf, root, issued := sign(t, b, "default", s, mesh.DefaultCertLifetime)
	if !leaf.NotAfter.Equal(root.NotAfter) || !issued.Expires.Equal(root.NotAfter) || !root.NotAfter.Equal(start.Add(48*time.Hour)) {
		t.Errorf("leaf until %s, authority until %s", leaf.NotAfter, root.NotAfter)
	}
	now = start.Add(49 * time.Hour)
	if _, err := b.Sign(t.Context(), "default", s, []string{"spiffe://default/web"}, p256(t).Public(), time.Hour); err == nil || !strings.Contains(err.Error(), "expired on 2026-11-25") {
		t.Errorf("dead authority signed: %v", err)
	}
}

func TestBuiltinRSA(t *testing.T) {
	now := start
	b := builtin(&now)
	s := spec(caConf(2048, ""))
	must(t, b.Ensure(t.Context(), "default", s))
	_, root, _ := sign(t, b, "default", s, time.Hour)
	if k, ok := root.PublicKey.(*rsa.PublicKey); !ok || k.N.BitLen() != 2048 {
		t.Errorf("authority has a %T", root.PublicKey)
	}
	key, err := b.Store.Get(t.Context(), KeyKey("default", "ca-1"))
	must(t, err)
	if data := key.Spec.(*mesh.Secret).Data; !bytes.HasPrefix(data, []byte("-----BEGIN RSA PRIVATE KEY-----")) || key.Meta.Name != "default.ca-builtin-key-ca-1" {
		t.Errorf("%s holds %.40s", key.Meta.Name, data)
	}
	if err := b.Ensure(t.Context(), "m2", spec(caConf(512, ""))); err == nil || !strings.Contains(err.Error(), "RSAbits is 512") {
		t.Errorf("512 bits: %v", err)
	}
	if err := b.Ensure(t.Context(), "m2", spec(caConf(0, "forever"))); err == nil || !strings.Contains(err.Error(), "conf.caCert.expiration") {
		t.Errorf("expiration forever: %v", err)
	}
}

// Two meshes share no byte of their authorities, whatever was signed before.
func TestMeshesDoNotShareAuthorities(t *testing.T) {
	now := start
	b := builtin(&now)
	seen := map[string]string{}
	for _, name := range []string{"a", "b", "a-b"} {
		must(t, b.Ensure(t.Context(), name, spec(nil)))
	}
	for range 2 {
		for _, name := range []string{"a", "b", "a-b"} {
			leaf, root, _ := sign(t, b, name, spec(nil), time.Hour)
			must(t, leaf.CheckSignatureFrom(root))
			if root.URIs[0].String() != "spiffe://"+name {
				t.Errorf("mesh %s was signed by %s", name, root.URIs[0])
			}
			key := string(root.RawSubjectPublicKeyInfo)
			if other, ok := seen[key]; ok && other != name {
				t.Errorf("meshes %s and %s share a key", name, other)
			}
			seen[key] = name
		}
	}
}

func TestReplacedAuthoritySignsAtOnce(t *testing.T) {
	now := start
	b := builtin(&now)
	must(t, b.Ensure(t.Context(), "default", spec(nil)))
	_, before, _ := sign(t, b, "default", spec(nil), time.Hour)
	for _, k := range []mesh.Key{CertKey("default", "ca-1"), KeyKey("default", "ca-1")} {
		must(t, b.Store.(*memory.Store).Delete(t.Context(), k, 0))
	}
	if _, err := b.Sign(t.Context(), "default", spec(nil), []string{"spiffe://default/web"}, p256(t).Public(), time.Hour); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("deleted authority: %v, want ErrNotFound", err)
	}
	must(t, b.Ensure(t.Context(), "default", spec(nil)))
	leaf, after, _ := sign(t, b, "default", spec(nil), time.Hour)
	if bytes.Equal(before.Raw, after.Raw) || leaf.CheckSignatureFrom(after) != nil {
		t.Error("the old authority still signs")
	}
}

func TestEnsureRacesAndRepeats(t *testing.T) {
	now := start
	b := builtin(&now)
	done := make(chan error)
	for range 4 {
		go func() { done <- (&Meshes{Store: b.Store, Now: b.Now}).Ensure(t.Context(), "default", spec(nil)) }()
	}
	for range 4 {
		must(t, <-done)
	}
	_, before, _ := sign(t, b, "default", spec(nil), time.Hour)
	must(t, b.Ensure(t.Context(), "default", spec(nil)))
	if _, after, _ := sign(t, b, "default", spec(nil), time.Hour); !bytes.Equal(before.Raw, after.Raw) {
		t.Error("Ensure replaced an authority")
	}
}

func TestSignRefuses(t *testing.T) {
	now := start
	b := builtin(&now)
	must(t, b.Ensure(t.Context(), "default", spec(nil)))
	if err := b.Ensure(t.Context(), "off", new(mesh.MeshSpec)); err != nil {
		t.Errorf("mesh without mTLS: %v", err)
	}
	if _, err := b.Sign(t.Context(), "off", new(mesh.MeshSpec), []string{"spiffe://off/web"}, p256(t).Public(), time.Hour); !errors.Is(err, ErrOff) {
		t.Errorf("mesh without mTLS: %v", err)
	}
	for _, uris := range [][]string{
		nil, {""}, {"spiffe://other/web"}, {"spiffe://default"}, {"spiffe://default/"}, {"spiffe://default:1/web"}, {"spiffe://u@default/web"},
		{"spiffe://default/web?x=1"}, {"spiffe://default/web?"}, {"spiffe://default/a b"}, {"weft://default/dataplane/web"},
		{"https://default/web"}, {"kuma://a:b/c"}, {"kuma://a/b\x00"}, {"spiffe://default/web", "spiffe://other/web"},
	} {
		if _, err := b.Sign(t.Context(), "default", spec(nil), uris, p256(t).Public(), time.Hour); !errors.Is(err, ErrIdentity) {
			t.Errorf("%q: %v, want ErrIdentity", uris, err)
		}
		if err := Check("default", spec(nil), uris); !errors.Is(err, ErrIdentity) {
			t.Errorf("Check %q: %v, want ErrIdentity", uris, err)
		}
	}
	provided := spec(func(be *mesh.MTLSBackend) { be.Type = "provided" })
	if _, err := b.Sign(t.Context(), "default", provided, []string{"spiffe://default/web"}, p256(t).Public(), time.Hour); err == nil || errors.Is(err, ErrOff) {
		t.Errorf("backend of another type: %v", err)
	}
}
