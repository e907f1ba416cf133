// Package token issues and verifies tokens: of dataplanes, which an operator
// gives to a host so that it may become certain dataplanes of a mesh, of zones,
// and of the users of the REST API.
//
// A token is an RS256 JWT with the claims of Kuma's. Each kind has keys of its
// own, dataplane tokens those of their mesh, so that a token is never good for
// another mesh nor for another purpose.
package token

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/signing"
)

var (
	// ErrRefused is what every error about a token itself wraps: the caller has
	// not shown who he is. Errors of the store do not wrap it.
	ErrRefused = errors.New("token refused")
	// ErrNoSigningKey: the mesh has no key to sign with.
	ErrNoSigningKey = errors.New("signing key not found")
)

// What the Type claim may say; empty means that any dataplane is meant.
const (
	TypeDataplane = "dataplane"
	TypeIngress   = "ingress"
	TypeEgress    = "egress"
)

// WorkloadLabel is the label that the Workload claim speaks of.
const WorkloadLabel = "kuma.io/workload"

// Claims is what a dataplane token says. What is empty is not restricted.
type Claims signing.DataplaneClaims

// ZoneClaims is what a zone token says.
type ZoneClaims = signing.ZoneClaims

// UserClaims is what a user token says.
type UserClaims = signing.UserClaims

// Allows tells everything about the Dataplane that the token does not permit.
//
// Name, mesh and workload must be equal where the token names them. A tag that
// the token names must be there, and every value that the Dataplane has for it,
// on any inbound or its gateway, must be listed; other tags are free.
func (c Claims) Allows(dp mesh.Resource) (v mesh.Violations) {
	if c.Type != "" && c.Type != TypeDataplane {
		v.Add("type", "the token is for %q only; make one with type %q", c.Type, TypeDataplane)
	}
	if c.Mesh != "" && c.Mesh != dp.Meta.Mesh {
		v.Add("mesh", "is %q, the token is of mesh %q", dp.Meta.Mesh, c.Mesh)
	}
	if c.Name != "" && c.Name != dp.Meta.Name {
		v.Add("name", "is %q, the token allows %q only", dp.Meta.Name, c.Name)
	}
	return append(v, AllowsTags(c.Tags, c.Workload, dp)...)
}

// AllowsTags is the part of Allows about tags and the workload label. The
// certificate that a token is spent for carries the same restrictions.
func AllowsTags(tags map[string][]string, workload string, dp mesh.Resource) (v mesh.Violations) {
	spec, ok := dp.Spec.(*mesh.Dataplane)
	if !ok {
		v.Add("type", "only a Dataplane can be allowed by a dataplane token")
		return v
	}
	if workload != "" && dp.Meta.Labels[WorkloadLabel] != workload {
		v.Add("labels["+strconv.Quote(WorkloadLabel)+"]", "is %q, allowed is %q", dp.Meta.Labels[WorkloadLabel], workload)
	}
	for _, tag := range slices.Sorted(maps.Keys(tags)) {
		allowed := tags[tag]
		found := false
		for _, at := range carriers(spec) {
			value, has := at.tags[tag]
			if !has {
				continue
			}
			found = true
			if !slices.Contains(allowed, value) {
				v.Add(at.path+"["+strconv.Quote(tag)+"]", "is %q, allowed is %s", value, quoted(allowed))
			}
		}
		if !found {
			v.Add("networking", "no inbound or gateway has the tag %q, which must be %s", tag, quoted(allowed))
		}
	}
	return v
}

type carrier struct {
	path string
	tags mesh.Tags
}

// carriers lists everything of a Dataplane that has tags.
func carriers(dp *mesh.Dataplane) (all []carrier) {
	if dp.Networking.Gateway != nil {
		all = append(all, carrier{"networking.gateway.tags", dp.Networking.Gateway.Tags})
	}
	for i, in := range dp.Networking.Inbound {
		all = append(all, carrier{"networking.inbound[" + strconv.Itoa(i) + "].tags", in.Tags})
	}
	return all
}

func quoted(values []string) string {
	if len(values) == 0 {
		return "nothing"
	}
	q := make([]string, len(values))
	for i, v := range values {
		q[i] = strconv.Quote(v)
	}
	return strings.Join(q, " or ")
}
