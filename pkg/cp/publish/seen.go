package publish

import (
	"context"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// revocations begin the names of the lists of revoked tokens, which end with
// that of their mesh.
const revocations = "dataplane-token-revocations-"

// credentialNames begin the names of the Secrets that hosts' credentials are
// judged by. Those that say that a token was spent are none: to who has joined
// they are nothing, and a thousand hosts that join would have all judged as often.
var credentialNames = []string{"dataplane-token-signing-key-", revocations, "dataplane-evictions-"}

// judgedBy tells of which mesh the hosts' credentials are judged by a resource;
// false: of none.
func judgedBy(k mesh.Key) (meshName string, ok bool) {
	switch k.Kind {
	case mesh.SecretKind.Name:
		return k.Mesh, slices.ContainsFunc(credentialNames, func(part string) bool { return strings.HasPrefix(k.Name, part) })
	case mesh.GlobalSecretKind.Name:
		return strings.CutPrefix(k.Name, revocations)
	}
	return "", false
}

func credential(k mesh.Key) bool {
	_, ok := judgedBy(k)
	return ok
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
