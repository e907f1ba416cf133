package token

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"

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
	validFor = validity(&v, r.ValidFor, DefaultValidity)
	return validFor, v
}

// A ZoneRequest is the body of POST /tokens/zone.
type ZoneRequest struct {
	Zone     string   `json:"zone,omitempty"`
	Scope    []string `json:"scope"`
	ValidFor string   `json:"validFor,omitempty"` // Go duration; "" means DefaultValidity
}

// IssueZone makes the token that is asked for, see IssueDataplane.
func (i *Issuer) IssueZone(ctx context.Context, r ZoneRequest) (string, error) {
	var v mesh.Violations
	if len(r.Scope) == 0 {
		v.Add("scope", "must list %q, %q or both", TypeIngress, TypeEgress)
	}
	for n, s := range r.Scope {
		if s != TypeIngress && s != TypeEgress {
			v.Add("scope["+strconv.Itoa(n)+"]", "must be %q or %q", TypeIngress, TypeEgress)
		}
	}
	validFor := validity(&v, r.ValidFor, DefaultValidity)
	if err := v.Err(); err != nil {
		return "", err
	}
	return i.sign(ctx, Family{Kind: Zone}, validFor, func(c jwt.RegisteredClaims) jwt.Claims {
		return ZoneClaims{Zone: r.Zone, Scope: r.Scope, RegisteredClaims: c}
	})
}

// A UserRequest is the body of POST /tokens/user.
type UserRequest struct {
	Name     string   `json:"name"`
	Groups   []string `json:"groups,omitempty"`
	ValidFor string   `json:"validFor"` // Go duration
}

// IssueUser makes the token that is asked for, see IssueDataplane.
func (i *Issuer) IssueUser(ctx context.Context, r UserRequest) (string, error) {
	var v mesh.Violations
	if r.Name == "" {
		v.Add("name", "must be set")
	}
	for n, g := range r.Groups {
		if g == "" {
			v.Add("groups["+strconv.Itoa(n)+"]", "must not be empty")
		}
	}
	if r.ValidFor == "" {
		v.Add("validFor", "must be set, to a duration such as 24h")
	}
	validFor := validity(&v, r.ValidFor, 0)
	if err := v.Err(); err != nil {
		return "", err
	}
	return i.sign(ctx, Family{Kind: User}, validFor, func(c jwt.RegisteredClaims) jwt.Claims {
		return UserClaims{Name: r.Name, Groups: r.Groups, RegisteredClaims: c}
	})
}

// validity reads how long a token is to live.
func validity(v *mesh.Violations, text string, without time.Duration) time.Duration {
	if text == "" {
		return without
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		v.Add("validFor", "must be a duration such as 24h or 30m")
	case d <= 0 && without > 0:
		v.Add("validFor", "must be more than 0; leave it out for 10 years")
	case d <= 0:
		v.Add("validFor", "must be more than 0")
	}
	return d
}
