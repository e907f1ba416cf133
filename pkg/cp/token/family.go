package token

import (
	"crypto/rsa"
	"fmt"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// Kinds of tokens, each with keys and revocations of its own.
const (
	Dataplane = "dataplane"
	Zone      = "zone"
	User      = "user"
)

// A Family is the tokens that one series of keys signs: those of one mesh's
// dataplanes, of zones or of users.
type Family struct {
	Kind string // Dataplane, Zone, User
	Mesh string // of dataplane tokens
}

func (f Family) String() string {
	if f.Kind == Dataplane {
		return fmt.Sprintf("dataplane tokens of mesh %s", short(f.Mesh))
	}
	return f.Kind + " tokens"
}

// secret is the Secret, or GlobalSecret, of a name.
func (f Family) secret(name string) mesh.Key {
	if f.Kind == Dataplane {
		return mesh.Key{Kind: mesh.SecretKind.Name, Mesh: f.Mesh, Name: name}
	}
	return mesh.Key{Kind: mesh.GlobalSecretKind.Name, Name: name}
}

func (f Family) secretKind() *mesh.Kind {
	if f.Kind == Dataplane {
		return mesh.SecretKind
	}
	return mesh.GlobalSecretKind
}

func (f Family) keyPrefix() string {
	if f.Kind == Dataplane {
		return "dataplane-token-signing-key-" + f.Mesh + "-"
	}
	return f.Kind + "-token-signing-key-"
}

func (f Family) key(s serial) mesh.Key { return f.secret(f.keyPrefix() + s.String()) }

// revocations are the lists of revoked ids, the one that is written first.
// Kuma has had that of dataplanes in either place.
func (f Family) revocations() []mesh.Key {
	if f.Kind == Dataplane {
		name := "dataplane-token-revocations-" + f.Mesh
		return []mesh.Key{f.secret(name), {Kind: mesh.GlobalSecretKind.Name, Name: name}}
	}
	return []mesh.Key{f.secret(f.Kind + "-token-revocations")}
}

// remedy is how one gets a token that is good.
func (f Family) remedy() string {
	switch f.Kind {
	case Dataplane:
		return "make a new one on the control plane with `weftctl join-token` or `weftctl token dataplane`"
	default:
		return fmt.Sprintf("make a new one on the control plane with `weftctl token %s`", f.Kind)
	}
}

// A PublicKey verifies tokens that were signed elsewhere.
type PublicKey struct {
	Family Family
	ID     string // the kid of its tokens
	Key    *rsa.PublicKey
}
