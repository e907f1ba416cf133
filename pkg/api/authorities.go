package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// MeshAuthorities is how the authorities of a mesh are.
type MeshAuthorities struct {
	Mesh     string             `json:"mesh"`
	Issuer   string             `json:"issuer,omitempty"` // fingerprint of the one that signs
	Backends []MeshAuthority    `json:"backends"`
	Rotation *AuthorityRotation `json:"rotation,omitempty"`
	Hosts    AuthorityFollowers `json:"hosts"`
}

// A MeshAuthority is one of them.
type MeshAuthority struct {
	Name        string    `json:"name"`
	Type        string    `json:"type"`
	Signs       bool      `json:"signs"`
	Fault       string    `json:"fault,omitempty"`
	Algorithm   string    `json:"algorithm,omitempty"`
	Fingerprint string    `json:"fingerprint,omitempty"` // SHA-256 of the SubjectPublicKeyInfo, in hex
	NotBefore   time.Time `json:"notBefore,omitzero"`
	NotAfter    time.Time `json:"notAfter,omitzero"`
}

// AuthorityFollowers counts the hosts that are connected to the control plane
// that was asked, and of them those that have done what follows from the last
// change.
type AuthorityFollowers struct {
	Connected int      `json:"connected"`
	Trusting  int      `json:"trusting"`  // believe all of the mesh's authorities
	Certified int      `json:"certified"` // have a certificate of the one that signs
	Lacking   []string `json:"lacking,omitempty"`
}

// An AuthorityRotation is the exchange of a builtin authority.
type AuthorityRotation struct {
	Backend    string    `json:"backend"`
	Stage      string    `json:"stage"` // spread, renew, retire
	Reason     string    `json:"reason,omitempty"`
	Started    time.Time `json:"started"`
	Since      time.Time `json:"since"` // of the stage
	Old        string    `json:"old"`   // fingerprints
	New        string    `json:"new"`
	Dataplanes int       `json:"dataplanes"` // of the mesh
	Connected  int       `json:"connected"`  // to any control plane
	Ready      int       `json:"ready"`
	WaitsFor   string    `json:"waitsFor"`
	Replicas   int       `json:"replicas"` // control planes that have told of their hosts
}

// RotateRequest asks for a rotation. The zero value is the ordinary case.
type RotateRequest struct {
	// Wait is how long a stage takes at least, as a Go duration; default 1m.
	Wait string `json:"wait,omitempty"`
	// Patience is after how long a stage ends without the hosts that do not
	// answer; default the life of a certificate.
	Patience string `json:"patience,omitempty"`
}

// Authorities tells how a mesh's authorities are.
func (c *Client) Authorities(ctx context.Context, meshName string) (a MeshAuthorities, err error) {
	err = c.getJSON(ctx, authoritiesPath(meshName), &a)
	return a, err
}

// Rotate begins to exchange the builtin authority of a mesh, and tells how its
// authorities are then.
func (c *Client) Rotate(ctx context.Context, meshName string, r RotateRequest) (a MeshAuthorities, err error) {
	body, err := json.Marshal(r)
	if err != nil {
		return a, err
	}
	got, err := c.call(ctx, http.MethodPost, authoritiesPath(meshName)+"/rotation", body)
	if err != nil {
		return a, err
	}
	err = json.Unmarshal(got.body, &a)
	return a, err
}

// EndRotation gives up a rotation in its first stage.
func (c *Client) EndRotation(ctx context.Context, meshName string) error {
	_, err := c.call(ctx, http.MethodDelete, authoritiesPath(meshName)+"/rotation", nil)
	return err
}

func authoritiesPath(meshName string) string {
	return "/meshes/" + url.PathEscape(meshName) + "/_weft/ca"
}
