// Package api is the wire form of the REST interface: documents in JSON and
// YAML, list pages, the error document, the join token, and a client.
package api

import (
	"encoding/json"
	"time"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// A Page is the document that answers a list.
type Page struct {
	Total int               `json:"total"` // how many there are on all pages
	Items []json.RawMessage `json:"items"`
	Next  *string           `json:"next"` // absolute URL of the next page; nil on the last
}

// NewPage makes a page whose items print as [] when there are none.
func NewPage(total int, items []json.RawMessage, next string) Page {
	p := Page{Total: total, Items: items}
	if p.Items == nil {
		p.Items = []json.RawMessage{}
	}
	if next != "" {
		p.Next = &next
	}
	return p
}

// A PutResult answers a PUT.
type PutResult struct {
	Warnings []string `json:"warnings,omitempty"`
	// Version is that of what is stored now, as its ETag says: that of before
	// where nothing was written.
	Version mesh.Version `json:"-"`
}

// Info is what GET / tells about a control plane.
type Info struct {
	Product     string `json:"product"`
	Tagline     string `json:"tagline"` // what clients up to 2.8 read for Product
	Version     string `json:"version"`
	BasedOnKuma string `json:"basedOnKuma,omitempty"`
	Hostname    string `json:"hostname"`
	InstanceID  string `json:"instanceId"`
	ClusterID   string `json:"clusterId"`
	GUI         string `json:"gui,omitempty"`
	WeftVersion string `json:"weftVersion,omitempty"`
}

// Hosts is what GET /_weft/hosts tells: how agents reach the control plane.
type Hosts struct {
	Addresses []string `json:"addresses"` // host:port, the first is tried first
	// Authority is the SHA-256 of the SubjectPublicKeyInfo (DER) of the
	// control plane's own authority, in hex.
	Authority string `json:"authority"`
}

// A DataplaneTokenRequest is the body of POST /tokens/dataplane.
type DataplaneTokenRequest struct {
	Name     string              `json:"name"` // "" leaves the name free
	Mesh     string              `json:"mesh"`
	Tags     map[string][]string `json:"tags"` // allowed values; none leaves the tags free
	Type     string              `json:"type"`
	Workload string              `json:"workload"`
	// ValidFor is a Go duration; "" leaves it to the control plane.
	ValidFor string `json:"validFor"`
	// Once makes it good for one joining only.
	Once bool `json:"once,omitempty"`
}

// A ZoneTokenRequest is the body of POST /tokens/zone.
type ZoneTokenRequest struct {
	Zone     string   `json:"zone"`
	Scope    []string `json:"scope"` // ingress, egress
	ValidFor string   `json:"validFor"`
}

// A UserTokenRequest is the body of POST /tokens/user.
type UserTokenRequest struct {
	Name     string   `json:"name"`
	Groups   []string `json:"groups"`
	ValidFor string   `json:"validFor"` // a Go duration
}

// A SigningKey is one of the keys that sign tokens, without itself.
type SigningKey struct {
	ID    string    `json:"id"` // the kid of its tokens
	Made  time.Time `json:"made"`
	Signs bool      `json:"signs"`
}

// SigningKeys are those of one kind of tokens.
type SigningKeys struct {
	Keys []SigningKey `json:"keys"`
}

// A Revocation names a token that is to be good no more.
type Revocation struct {
	ID string `json:"id"` // its claim jti
}
