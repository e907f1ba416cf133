package publish

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
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
	// credentials are the Secrets that callers are judged by; no plan gets them.
	credentials map[mesh.Key]*mesh.Resource
	files       map[string]file
	// good are the last that were what they should be: a certificate and its
	// key are two Secrets, and nobody can change both at once.
	good map[goodKey]render.Resource
}

type goodKey struct {
	mesh string
	from proxy.Origin
	name string
}

type file struct {
	hash    string
	content []byte
}

func newVault() *vault {
	return &vault{secrets: map[mesh.Key]*mesh.Resource{}, credentials: map[mesh.Key]*mesh.Resource{}, files: map[string]file{}, good: map[goodKey]render.Resource{}}
}

// keep takes a change: of Secrets what policies may name.
func (v *vault) keep(c store.Change) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if c.Key.Kind == mesh.ExternalServiceKind.Name && c.Now == nil {
		maps.DeleteFunc(v.good, func(k goodKey, _ render.Resource) bool { return k.mesh == c.Key.Mesh && k.from.Name == c.Key.Name })
	}
	all := v.secrets
	switch {
	case credential(c.Key):
		all = v.credentials
	case c.Key.Kind != mesh.SecretKind.Name || mesh.OwnSecret(c.Key.Name):
		return
	}
	if c.Now == nil {
		delete(all, c.Key)
	} else {
		all[c.Key] = c.Now
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

// errKept: the mesh's own authority is made of it, whatever a policy says.
var errKept = errors.New("it is the key of the mesh's authority, which goes to nobody")

// bytes returns what a source of a plan of m stands for.
func (v *vault) bytes(m *snapshot.Mesh, from proxy.Origin, s *proxy.Source) ([]byte, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	switch {
	case s.Secret != "":
		if m.Spec().KeepsSecret(s.Secret) {
			return nil, errKept
		}
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

// open finds the secrets that a plan names. What is none of its kind is told.
// The last good one stays in force; where there was none, the plan's members that
// need it are left out: they are not called.
func (v *vault) open(m *snapshot.Mesh, c *proxy.Config) (all []render.Resource, warnings []proxy.Warning) {
	closed := map[string]bool{}
	for _, s := range c.Secrets {
		r, err := v.secret(m, s)
		key := goodKey{m.Name(), s.From, s.Name}
		if err == nil {
			v.remember(key, r)
			all = append(all, r)
			continue
		}
		until := "it is not called until that is mended"
		if before, ok := v.before(key); ok {
			until = "the one before is in force until that is mended"
			all = append(all, before)
		} else {
			closed[s.Name] = true
		}
		warnings = append(warnings, proxy.Warning{Part: s.From.String(), Text: fmt.Sprintf("secret %s: %s; %s", s.Name, err, until)})
	}
	if len(closed) == 0 {
		return all, warnings
	}
	for i := range c.Clusters {
		e := c.Clusters[i].External
		if e == nil {
			continue
		}
		kept := *e
		kept.Members = nil
		for _, member := range e.Members {
			if t := member.TLS; t != nil && (closed[t.Roots] || closed[t.Certificate]) {
				kept.Without = append(slices.Clip(kept.Without), fmt.Sprintf("%s: a secret of it is none, see warnings", member.From))
				continue
			}
			kept.Members = append(kept.Members, member)
		}
		c.Clusters[i].External = &kept
	}
	return all, warnings
}

func (v *vault) remember(k goodKey, r render.Resource) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.good[k] = r
}

func (v *vault) before(k goodKey) (render.Resource, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	r, ok := v.good[k]
	return r, ok
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
