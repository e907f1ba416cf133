package publish

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/plan"
	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// pair makes a certificate and its key, PEM.
func pair(t *testing.T) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

// TestVault walks through what may become of a certificate and its key, which
// are two Secrets.
func TestVault(t *testing.T) {
	v, state, version := newVault(), snapshot.Empty(), mesh.Version(0)
	put := func(kind *mesh.Kind, name string, spec mesh.Spec) {
		version++
		r := &mesh.Resource{Kind: kind, Meta: mesh.Meta{Mesh: "default", Name: name, Version: version}, Spec: spec}
		if kind == mesh.MeshKind {
			r.Meta.Mesh = ""
		}
		c := store.Change{Key: r.Key(), Version: version, Now: r}
		if spec == nil {
			c.Now = nil
		}
		v.keep(c)
		state = snapshot.Next(state, snapshot.Input{Changes: []store.Change{c}})
	}
	secret := func(name string, b []byte) { put(mesh.SecretKind, name, &mesh.Secret{Data: b}) }
	external := func() {
		put(mesh.ExternalServiceKind, "pay", &mesh.ExternalService{
			Networking: mesh.ExternalNetworking{Address: "pay.example.com:443", TLS: &mesh.ExternalTLS{
				Enabled: true, ClientCert: &mesh.DataSource{Secret: "cert"}, ClientKey: &mesh.DataSource{Secret: "key"},
			}},
			Tags: mesh.Tags{mesh.ServiceTag: "pay"},
		})
	}
	put(mesh.MeshKind, "default", &mesh.MeshSpec{})
	put(mesh.DataplaneKind, "web", &mesh.Dataplane{Networking: mesh.DataplaneNetworking{
		Address: "192.0.2.1", TransparentProxying: &mesh.TransparentProxying{RedirectPortOutbound: 15001},
		Inbound: []mesh.Inbound{{Port: 80, Tags: mesh.Tags{mesh.ServiceTag: "web"}}},
	}})
	// is tells the members that are called, the secrets that there are, and the
	// first words that tell why not.
	is := func() string {
		m := state.Mesh("default")
		c, _ := plan.For(snapshot.NewView(m), "web")
		all, warnings := v.open(m, c)
		out := ""
		for _, cl := range c.Clusters {
			if cl.External != nil {
				out = fmt.Sprintf("%d members, %d secrets", len(cl.External.Members), len(all))
			}
		}
		for _, w := range warnings {
			out += "; " + w.Text
		}
		return out
	}
	cert1, key1 := pair(t)
	cert2, key2 := pair(t)
	for _, step := range []struct {
		name string
		do   func()
		want string
	}{
		{"none are there", external, "0 members, 0 secrets"},
		{"the certificate is there", func() { secret("cert", cert1) }, "0 members, 0 secrets"},
		{"the key is none", func() { secret("key", []byte("x")) }, "0 members, 0 secrets; secret external:pay:client: certificate and key: tls: failed to find any PEM data in key input; it is not called"},
		{"the key is there", func() { secret("key", key1) }, "1 members, 1 secrets"},
		{"another certificate", func() { secret("cert", cert2) }, "1 members, 1 secrets; secret external:pay:client: certificate and key: tls: private key does not match public key; the one before is in force"},
		{"and its key", func() { secret("key", key2) }, "1 members, 1 secrets"},
		{"the key goes", func() { put(mesh.SecretKind, "key", nil) }, "0 members, 0 secrets"},
		{"and comes back wrong", func() { secret("key", key1) }, "1 members, 1 secrets; secret external:pay:client: certificate and key: tls: private key does not match public key; the one before is in force"},
		{"the service goes", func() { put(mesh.ExternalServiceKind, "pay", nil) }, ""},
		{"and comes back", external, "0 members, 0 secrets; secret external:pay:client: certificate and key: tls: private key does not match public key; it is not called"},
	} {
		step.do()
		if got := is(); !strings.HasPrefix(got, step.want) || step.want == "" && got != "" {
			t.Errorf("%s: %s; want %s", step.name, got, step.want)
		}
	}
	secret("default.ca-builtin-key-ca-1", key1)
	if len(v.secrets) != 2 {
		t.Errorf("the vault has %d secrets, want 2", len(v.secrets))
	}
}

func TestFilesUnder(t *testing.T) {
	dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "key.pem")
	for path, text := range map[string]string{filepath.Join(dir, "ca.pem"): "ca", outside: "key", filepath.Join(dir, "large.pem"): strings.Repeat("x", maxFile+1)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"out.pem": outside, "in.pem": "ca.pem"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	read := FilesUnder(dir)
	for path, want := range map[string]string{
		dir + "/ca.pem": "ca", dir + "/in.pem": "ca", dir + "/out.pem": "escapes", outside: "is not in", dir + "/../x": "is not in",
		dir + "/none.pem": "no such file", dir + "/large.pem": "more than", "/": "is not in", dir: "directory",
	} {
		got, err := read(path)
		if err == nil && string(got) != want || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %.20q, %v; want %q", path, got, err, want)
		}
	}
	if _, err := FilesUnder("")(outside); err == nil || !strings.Contains(err.Error(), "resourceFiles") {
		t.Errorf("without a folder: %v", err)
	}
}
