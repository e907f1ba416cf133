// Package host is the control plane's side of a host's life: it lets hosts
// join, registers their Dataplanes, signs for them, lets them go, and says on
// every call who is calling.
//
// Who a host is comes from its credential alone: a dataplane token once, from
// then on the certificate that it was spent for. What a request says about
// itself is checked against that and never believed.
package host

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/weft-mesh/weft/pkg/cp/token"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// A Grant is what an agent's certificate permits: to be one dataplane, within
// the tags that its token allowed.
type Grant struct {
	ID   proxy.ID
	Tags map[string][]string // by tag, the allowed values; what is not named is free
	// Workload is the value that the label kuma.io/workload must have; "" is any.
	Workload string
	// Token is the id (jti) of the token that was spent: when that is revoked,
	// the certificate is too.
	Token string
	// Join tells one joining from another, and which was later: ids are in the
	// order of time. It stays the same when the certificate is renewed.
	Join string
}

// Query keys beside the tags. '@' cannot stand in a tag's name.
const (
	workloadQuery = "@workload"
	tokenQuery    = "@token"
	joinQuery     = "@join"
)

// URI is the grant as the certificate's only name:
// weft://<mesh>/dataplane/<name>?<tag>=<value>&…, sorted.
func (g Grant) URI() string {
	q := url.Values{}
	for tag, values := range g.Tags {
		q[tag] = slices.Sorted(slices.Values(values))
	}
	if g.Workload != "" {
		q.Set(workloadQuery, g.Workload)
	}
	if g.Token != "" {
		q.Set(tokenQuery, g.Token)
	}
	if g.Join != "" {
		q.Set(joinQuery, g.Join)
	}
	u := url.URL{Scheme: "weft", Host: g.ID.Mesh, Path: "/dataplane/" + g.ID.Name, RawQuery: q.Encode()}
	return u.String()
}

// ErrGrant is what every error of ParseGrant wraps.
var ErrGrant = errors.New("no agent's certificate")

// ParseGrant reads what URI wrote, and nothing else: another spelling of the
// same is refused.
func ParseGrant(text string) (Grant, error) {
	u, err := url.Parse(text)
	if err != nil {
		return Grant{}, fmt.Errorf("%w: its name is no URI", ErrGrant)
	}
	name, ok := strings.CutPrefix(u.Path, "/dataplane/")
	if u.Scheme != "weft" || !ok || u.Host == "" || name == "" || strings.Contains(name, "/") {
		return Grant{}, fmt.Errorf("%w: its name is not weft://<mesh>/dataplane/<name>", ErrGrant)
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Grant{}, fmt.Errorf("%w: the tags in its name cannot be read", ErrGrant)
	}
	g := Grant{ID: proxy.ID{Mesh: u.Host, Name: name}, Workload: q.Get(workloadQuery), Token: q.Get(tokenQuery), Join: q.Get(joinQuery)}
	for tag, values := range q {
		if strings.HasPrefix(tag, "@") {
			continue
		}
		if g.Tags == nil {
			g.Tags = make(map[string][]string)
		}
		g.Tags[tag] = values
	}
	if g.URI() != text {
		return Grant{}, fmt.Errorf("%w: its name is not in the form that this control plane writes", ErrGrant)
	}
	return g, nil
}

// newGrant is what a verified token permits to the dataplane of that id. It
// fails where a name or tag cannot stand in a certificate.
func newGrant(id proxy.ID, c token.Claims) (Grant, error) {
	join, err := uuid.NewV7()
	if err != nil {
		return Grant{}, err
	}
	g := Grant{ID: id, Tags: c.Tags, Workload: c.Workload, Token: c.ID, Join: join.String()}
	for tag, values := range c.Tags {
		if strings.HasPrefix(tag, "@") || len(values) == 0 {
			return Grant{}, fmt.Errorf("%w: the token's tag %q cannot be granted", ErrGrant, tag)
		}
	}
	if _, err := ParseGrant(g.URI()); err != nil {
		return Grant{}, err
	}
	return g, nil
}

// Allows tells everything about the Dataplane that the grant does not permit.
func (g Grant) Allows(dp mesh.Resource) (v mesh.Violations) {
	if dp.Meta.Mesh != g.ID.Mesh {
		v.Add("mesh", "is %q, this host joined mesh %q", dp.Meta.Mesh, g.ID.Mesh)
	}
	if dp.Meta.Name != g.ID.Name {
		v.Add("name", "is %q, this host joined as %q", dp.Meta.Name, g.ID.Name)
	}
	return append(v, token.AllowsTags(g.Tags, g.Workload, dp)...)
}

// identities are the URIs of a Dataplane's workload certificate.
func identities(dp mesh.Resource) []string {
	spec, ok := dp.Spec.(*mesh.Dataplane)
	if !ok {
		return nil
	}
	return spec.Identities(dp.Meta.Mesh)
}
