package publish

import (
	"context"
	"strings"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// credentialNames begin the names of the Secrets that hosts' credentials are
// judged by.
var credentialNames = []string{"dataplane-token-signing-key-", "dataplane-token-revocations-", "dataplane-evictions-"}

func credential(k mesh.Key) bool {
	if k.Kind != mesh.SecretKind.Name && k.Kind != mesh.GlobalSecretKind.Name {
		return false
	}
	for _, name := range credentialNames {
		if strings.HasPrefix(k.Name, name) {
			return true
		}
	}
	return false
}

// Seen returns a Dataplane, or a Secret that credentials are judged by, as it
// was when the store was heard last: it asks nobody. The stream is told to judge
// (Judge) after a change can be seen here. It fails with store.ErrNotFound, also
// for all other kinds, and with store.ErrUnavailable until the store was read.
func (p *Publisher) Seen(_ context.Context, k mesh.Key) (mesh.Resource, error) {
	s := p.State()
	if s == nil {
		return mesh.Resource{}, store.ErrUnavailable
	}
	var r *mesh.Resource
	switch {
	case credential(k):
		r = p.vault.credential(k)
	case k.Kind == mesh.DataplaneKind.Name && s.Mesh(k.Mesh) != nil:
		r = s.Mesh(k.Mesh).Dataplane(k.Name)
	}
	if r == nil {
		return mesh.Resource{}, store.ErrNotFound // words cost what every look at a list that is not there would pay
	}
	return *r, nil
}

func (v *vault) credential(k mesh.Key) *mesh.Resource {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.credentials[k]
}
