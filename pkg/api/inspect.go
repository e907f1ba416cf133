package api

import (
	"encoding/json"
	"time"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// A ResourceMeta is a resource without what it says.
type ResourceMeta struct {
	Type             string            `json:"type"`
	Mesh             string            `json:"mesh,omitempty"`
	Name             string            `json:"name"`
	CreationTime     *time.Time        `json:"creationTime,omitempty"`
	ModificationTime *time.Time        `json:"modificationTime,omitempty"`
	Labels           map[string]string `json:"labels,omitempty"`
	KRI              string            `json:"kri,omitempty"`
}

// MetaOf leaves out what r says.
func MetaOf(r mesh.Resource) ResourceMeta {
	return ResourceMeta{
		Type: r.Kind.Name, Mesh: r.Meta.Mesh, Name: r.Meta.Name, Labels: r.Meta.Labels, KRI: r.KRI(r.Meta.Labels[mesh.ZoneLabel]),
		CreationTime: timeOrNil(r.Meta.Created), ModificationTime: timeOrNil(r.Meta.Modified),
	}
}

// What a policy is attached to.
const (
	AttachedInbound   = "inbound"
	AttachedOutbound  = "outbound"
	AttachedService   = "service"
	AttachedDataplane = "dataplane"
)

// KindSidecar is the kind of dataplane that inspect endpoints speak of.
const KindSidecar = "SidecarDataplane"

// An Attachment is a place of a dataplane at which a policy acts.
type Attachment struct {
	Type    string `json:"type"`              // AttachedInbound, …
	Name    string `json:"name,omitempty"`    // ip:port:servicePort, ip:port, the service, or none
	Service string `json:"service,omitempty"` // whose place it is
}

// MatchedPolicies are what acts at one place of a dataplane, by kind.
type MatchedPolicies struct {
	Attachment
	Policies map[string][]ResourceMeta `json:"matchedPolicies"`
}

// DataplanePolicies are what acts on a dataplane.
type DataplanePolicies struct {
	Kind  string            `json:"kind"`
	Total int               `json:"total"`
	Items []MatchedPolicies `json:"items"`
}

// A PolicyDataplane is a dataplane on which a policy acts.
type PolicyDataplane struct {
	Kind        string       `json:"kind"`
	Dataplane   ResourceName `json:"dataplane"`
	Attachments []Attachment `json:"attachments"`
}

// A ResourceName names a resource of which the kind is known.
type ResourceName struct {
	Mesh string `json:"mesh"`
	Name string `json:"name"`
}

// A Layout is what a proxy listens on and calls.
type Layout struct {
	KRI       string            `json:"kri"`
	Labels    map[string]string `json:"labels"`
	Inbounds  []LayoutPlace     `json:"inbounds"`
	Listeners []LayoutPlace     `json:"listeners"`
	Outbounds []LayoutPlace     `json:"outbounds"`
	SpiffeID  string            `json:"spiffeId,omitempty"`
}

// A LayoutPlace is one of them.
type LayoutPlace struct {
	KRI      string `json:"kri"`
	Port     int    `json:"port"`
	Protocol string `json:"protocol,omitempty"`
	Proxy    string `json:"proxyResourceName"`
	Type     string `json:"type,omitempty"` // of a listener
}

// A Difference is what a change would bring.
type Difference struct {
	Resources []ResourceChange `json:"resources"`
	// Proxies are those of which the plan changes, those that change alike
	// together.
	Proxies []ProxyChange `json:"proxies"`
	// Shared is what changes for every proxy of a mesh: endpoints and names.
	Shared []SharedChange `json:"shared,omitempty"`
	// Looked is how many proxies' plans were made, Of how many could change.
	Looked int `json:"looked"`
	Of     int `json:"of"`
}

// What becomes of a resource.
const (
	ChangeCreated   = "created"
	ChangeUpdated   = "updated"
	ChangeDeleted   = "deleted"
	ChangeUnchanged = "unchanged"
	ChangeRefused   = "refused"
)

// A ResourceChange is what becomes of one resource.
type ResourceChange struct {
	Type     string   `json:"type"`
	Mesh     string   `json:"mesh,omitempty"`
	Name     string   `json:"name"`
	Change   string   `json:"change"`
	Diff     string   `json:"diff,omitempty"` // of its YAML, in unified form
	Warnings []string `json:"warnings,omitempty"`
	Error    *Error   `json:"error,omitempty"` // why it is refused
}

// A ProxyChange is what changes in the plans of some proxies.
type ProxyChange struct {
	Mesh    string   `json:"mesh"`
	Proxies []string `json:"proxies"`        // the first of them, by name
	More    int      `json:"more,omitempty"` // beyond those
	Diff    string   `json:"diff"`           // of the plan's YAML, in unified form
	Cut     int      `json:"cut,omitempty"`  // lines of the diff that are left out
}

// A SharedChange is what changes for a whole mesh.
type SharedChange struct {
	Mesh string `json:"mesh"`
	What string `json:"what"` // endpoints of a service
	Diff string `json:"diff"`
	Cut  int    `json:"cut,omitempty"`
}

// What becomes of a call.
const (
	VerdictAllowed = "allowed"
	VerdictDenied  = "denied"
	VerdictMixed   = "mixed" // some endpoints let it in, others do not
	VerdictFails   = "fails" // it leads nowhere
)

// An Explanation tells what becomes of a call, and why.
type Explanation struct {
	Mesh    string   `json:"mesh"`
	From    Party    `json:"from"`
	To      Party    `json:"to"`
	Verdict string   `json:"verdict"`
	Why     []string `json:"why"` // in words, the decisive reason first

	Outbound  *ExplainedOutbound  `json:"outbound,omitempty"`
	Route     *ExplainedRoute     `json:"route,omitempty"`
	Effects   []Effect            `json:"effects,omitempty"`
	Endpoints []ExplainedEndpoint `json:"endpoints,omitempty"`
	// MoreEndpoints is how many were not looked at.
	MoreEndpoints int       `json:"moreEndpoints,omitempty"`
	Warnings      []Finding `json:"warnings,omitempty"` // of the caller's plan, about this call
}

// A Party is one side of a call.
type Party struct {
	Asked     string            `json:"asked"` // as it was asked for
	Service   string            `json:"service,omitempty"`
	Dataplane string            `json:"dataplane,omitempty"` // the one that was looked at
	Tags      map[string]string `json:"tags,omitempty"`
	Others    int               `json:"others,omitempty"` // dataplanes that are meant, too
}

// ExplainedOutbound is how the caller's proxy knows the service.
type ExplainedOutbound struct {
	Name     string   `json:"name"`
	Listen   []string `json:"listen"`
	Protocol string   `json:"protocol"`
}

// An ExplainedRoute is where the call leads.
type ExplainedRoute struct {
	From  string             `json:"from,omitempty"` // the policy; "" where none has a say
	Rule  int                `json:"rule"`           // from 0
	Of    int                `json:"of"`             // how many rules there are
	Match string             `json:"match"`          // in words
	To    []RouteDestination `json:"to"`
	// Modify is what changes on the way.
	Modify json.RawMessage `json:"modify,omitempty"`
}

// A RouteDestination is one of the places that a call may be led to.
type RouteDestination struct {
	Cluster string            `json:"cluster"`
	Service string            `json:"service"`
	Tags    map[string]string `json:"tags,omitempty"` // that its endpoints have, beside the service
	Percent int               `json:"percent"`
}

// An Effect is what one policy, or the default, says of the call.
type Effect struct {
	Where  string          `json:"where"`          // caller, cluster NAME, callee
	What   string          `json:"what"`           // timeouts, retry, …
	From   string          `json:"from,omitempty"` // the policy; "" is the control plane's default
	Values json.RawMessage `json:"values"`
}

// An ExplainedEndpoint is one member that may answer.
type ExplainedEndpoint struct {
	Cluster   string            `json:"cluster"`
	Address   string            `json:"address"`
	Dataplane string            `json:"dataplane,omitempty"` // "": it is outside of the mesh
	Tags      map[string]string `json:"tags,omitempty"`
	Connected bool              `json:"connected"` // its proxy is, to the control plane
	Allowed   bool              `json:"allowed"`
	Policy    string            `json:"policy,omitempty"` // the permission that decides
	Why       string            `json:"why,omitempty"`
}
