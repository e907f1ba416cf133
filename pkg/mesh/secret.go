package mesh

import "strings"

// A Secret is bytes that only administrators and the control plane may read, of
// one mesh or, as a GlobalSecret, of none.
type Secret struct {
	Data []byte `json:"data,omitempty"` // base64 in documents
}

// Validate accepts any bytes, none included.
func (s *Secret) Validate() (v Violations) { return nil }

// ownSecrets are parts of the names of the control plane's own Secrets.
var ownSecrets = []string{
	".ca-builtin-cert-", ".ca-builtin-key-", ".ca-rotation-",
	"dataplane-token-signing-key-", "dataplane-token-revocations-", "dataplane-token-spent-", "dataplane-evictions-", "zone-token-signing-key-", "zone-token-revocations",
	"user-token-signing-key-", "user-token-revocations", "admin-user-token", "envoy-admin-ca", "inter-cp-ca",
}

// OwnSecret tells whether a Secret of this name is the control plane's own: the
// key of an authority, or one that signs tokens. No policy may pass it on.
func OwnSecret(name string) bool {
	for _, part := range ownSecrets {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

// CACertSecret is where the certificate of a mesh's authority is kept, in PEM.
func CACertSecret(mesh, backend string) string { return mesh + ".ca-builtin-cert-" + backend }

// CAKeySecret is where its key is kept, in PEM.
func CAKeySecret(mesh, backend string) string { return mesh + ".ca-builtin-key-" + backend }

// Secrets are the names of those that the authority of a mesh is made of.
func (b *MTLSBackend) Secrets(mesh string) []string {
	if b.Type != "provided" {
		return []string{CACertSecret(mesh, b.Name), CAKeySecret(mesh, b.Name)}
	}
	var names []string
	if b.Conf == nil {
		return nil
	}
	for _, d := range []*DataSource{b.Conf.Cert, b.Conf.Key} {
		if d != nil && d.Secret != "" {
			names = append(names, d.Secret)
		}
	}
	return names
}
