package token

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// DefaultValidity is how long a token lives whose maker did not say, as in Kuma.
const DefaultValidity = 10 * 365 * 24 * time.Hour

// A Request is the body of POST /tokens/dataplane.
type Request struct {
	Name     string              `json:"name,omitempty"`
	Mesh     string              `json:"mesh"`
	Tags     map[string][]string `json:"tags,omitempty"`
	Type     string              `json:"type,omitempty"` // dataplane, ingress, egress or ""
	Workload string              `json:"workload,omitempty"`
	ValidFor string              `json:"validFor,omitempty"` // Go duration; "" means DefaultValidity
	Once     bool                `json:"once,omitempty"`     // good for one joining only
}

// IssueDataplane makes the token that is asked for. What is wrong with the
// request comes back as mesh.Violations, all at once.
func (i *Issuer) IssueDataplane(ctx context.Context, r Request) (string, error) {
	validFor, v := r.validate()
	if r.Mesh != "" {
		_, err := i.Store.Get(ctx, mesh.Key{Kind: mesh.MeshKind.Name, Name: r.Mesh})
		switch {
		case errors.Is(err, store.ErrNotFound):
			v.Add("mesh", "there is no mesh %s; make it first, or name one of `weftctl get meshes`", short(r.Mesh))
		case err != nil:
			return "", fmt.Errorf("issue dataplane token: %w", err)
		}
	}
	if err := v.Err(); err != nil {
		return "", err
	}
	return i.Issue(ctx, Claims{Name: r.Name, Mesh: r.Mesh, Tags: r.Tags, Type: r.Type, Workload: r.Workload, Once: r.Once}, validFor)
}

func (r Request) validate() (validFor time.Duration, v mesh.Violations) {
	if r.Mesh == "" {
		v.Add("mesh", "must be set")
	}
	for _, tag := range slices.Sorted(maps.Keys(r.Tags)) {
		field := "tags[" + strconv.Quote(tag) + "]"
		switch {
		case tag == "":
			v.Add(field, "a tag must have a name")
		case len(r.Tags[tag]) == 0:
			v.Add(field, "must list at least one value; leave the tag out to allow all")
		case slices.Contains(r.Tags[tag], ""):
			v.Add(field, "a value must not be empty")
		}
	}
	switch r.Type {
	case "", TypeDataplane, TypeIngress, TypeEgress:
	default:
		v.Add("type", "must be %q, %q, %q or empty", TypeDataplane, TypeIngress, TypeEgress)
	}
	if r.ValidFor == "" {
		return DefaultValidity, v
	}
	validFor, err := time.ParseDuration(r.ValidFor)
	switch {
	case err != nil:
		v.Add("validFor", "must be a duration such as 24h or 30m")
	case validFor <= 0:
		v.Add("validFor", "must be more than 0; leave it out for 10 years")
	}
	return validFor, v
}
