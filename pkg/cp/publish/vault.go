package publish

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/envoy/render"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// A vault holds the bytes that plans name and never say: Secrets, and files of
// this machine. They go from here to the proxies that need them, and nowhere
// else: no log, no plan and no stage that is shown has them.
type vault struct {
	mu      sync.RWMutex
	secrets map[mesh.Key]*mesh.Resource
	files   map[string]file
}

type file struct {
	hash    string
	content []byte
}

func newVault() *vault {
	return &vault{secrets: map[mesh.Key]*mesh.Resource{}, files: map[string]file{}}
}

// keep takes a change of a Secret that policies may name.
func (v *vault) keep(c store.Change) {
	if c.Key.Kind != mesh.SecretKind.Name || mesh.OwnSecret(c.Key.Name) {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if c.Now == nil {
		delete(v.secrets, c.Key)
	} else {
		v.secrets[c.Key] = c.Now
	}
}

func (v *vault) keepFiles(files map[string]file) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.files = files
}

// errMoved: the bytes are not those that were planned with; a plan with the
// present ones is on its way.
var errMoved = errors.New("it has just changed")

// bytes returns what a source of a plan of m stands for.
func (v *vault) bytes(m *snapshot.Mesh, from proxy.Origin, s *proxy.Source) ([]byte, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	switch {
	case s.Secret != "":
		r := v.secrets[mesh.Key{Kind: mesh.SecretKind.Name, Mesh: m.Name(), Name: s.Secret}]
		if r == nil || strconv.FormatInt(int64(r.Meta.Version), 10) != s.Version {
			return nil, errMoved
		}
		return r.Spec.(*mesh.Secret).Data, nil
	case s.File != "":
		f, ok := v.files[s.File]
		if !ok || f.hash != s.Version {
			return nil, errMoved
		}
		return f.content, nil
	}
	for _, r := range m.Policies(mesh.ExternalServiceKind).All() {
		if r.Meta.Name != from.Name {
			continue
		}
		for _, src := range r.Spec.(*mesh.ExternalService).Sources() {
			if src.Field == s.Field {
				b, _ := src.Written()
				return b, nil
			}
		}
	}
	return nil, errMoved
}

// fill adds to a bundle the secrets that its plan names. What is no secret of
// its kind is left out and told: nothing is called with it.
func (v *vault) fill(b *render.Bundle, m *snapshot.Mesh, c *proxy.Config) error {
	var all []render.Resource
	for _, s := range c.Secrets {
		r, err := v.secret(m, s)
		if err != nil {
			b.Warnings = append(b.Warnings, proxy.Warning{
				Part: s.From.String(),
				Text: fmt.Sprintf("secret %s: %s; it is not called until that is mended", s.Name, err),
			})
			continue
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		return nil
	}
	return b.AddSecrets(all)
}

func (v *vault) secret(m *snapshot.Mesh, s proxy.Secret) (r render.Resource, err error) {
	if s.Roots != nil {
		roots, err := v.bytes(m, s.From, s.Roots)
		if err != nil {
			return r, fmt.Errorf("authorities: %w", err)
		}
		if !x509.NewCertPool().AppendCertsFromPEM(roots) {
			return r, errors.New("there is no certificate in it; it must be PEM, with BEGIN CERTIFICATE lines")
		}
		return render.Roots(s.Name, roots), nil
	}
	chain, err := v.bytes(m, s.From, s.Certificate)
	if err != nil {
		return r, fmt.Errorf("certificate: %w", err)
	}
	key, err := v.bytes(m, s.From, s.Key)
	if err != nil {
		return r, fmt.Errorf("key: %w", err)
	}
	if _, err := tls.X509KeyPair(chain, key); err != nil {
		return r, fmt.Errorf("certificate and key: %w", err) // its words quote neither
	}
	return render.Certificate(s.Name, chain, key), nil
}
