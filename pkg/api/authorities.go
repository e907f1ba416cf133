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
	Backend    string    `json:"backend,omitempty"`
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

// OwnAuthority is how the control plane's own authority is, by which hosts know
// it and it knows them.
type OwnAuthority struct {
	ID          string    `json:"id"` // the fingerprint that it had at first
	Algorithm   string    `json:"algorithm"`
	Fingerprint string    `json:"fingerprint"` // of the one that signs, and in new join tokens
	Former      string    `json:"former,omitempty"`
	NotBefore   time.Time `json:"notBefore"`
	NotAfter    time.Time `json:"notAfter"`
	// Rotation has hosts where those of meshes have dataplanes.
	Rotation *AuthorityRotation `json:"rotation,omitempty"`
	Hosts    OwnFollowers       `json:"hosts"`
}

// OwnFollowers counts the hosts that are connected to the control plane that was
// asked, and of them those that have what follows from the last change.
type OwnFollowers struct {
	Connected int      `json:"connected"`
	Ready     int      `json:"ready"`
	Lacking   []string `json:"lacking,omitempty"` // as <mesh>.<name>
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
	err = c.rotate(ctx, authoritiesPath(meshName), r, &a)
	return a, err
}

func (c *Client) rotate(ctx context.Context, path string, r RotateRequest, into any) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	got, err := c.call(ctx, http.MethodPost, path+"/rotation", body)
	if err != nil {
		return err
	}
	return json.Unmarshal(got.body, into)
}

// EndRotation gives up a rotation in its first stage.
func (c *Client) EndRotation(ctx context.Context, meshName string) error {
	_, err := c.call(ctx, http.MethodDelete, authoritiesPath(meshName)+"/rotation", nil)
	return err
}

const ownAuthorityPath = "/_weft/ca"

// OwnAuthority tells how the control plane's own authority is.
func (c *Client) OwnAuthority(ctx context.Context) (a OwnAuthority, err error) {
	err = c.getJSON(ctx, ownAuthorityPath, &a)
	return a, err
}

// RotateOwn begins to exchange the control plane's own authority.
func (c *Client) RotateOwn(ctx context.Context, r RotateRequest) (a OwnAuthority, err error) {
	err = c.rotate(ctx, ownAuthorityPath, r, &a)
	return a, err
}

// EndOwnRotation gives up an exchange in its first stage.
func (c *Client) EndOwnRotation(ctx context.Context) error {
	_, err := c.call(ctx, http.MethodDelete, ownAuthorityPath+"/rotation", nil)
	return err
}

func authoritiesPath(meshName string) string {
	return "/meshes/" + url.PathEscape(meshName) + "/_weft/ca"
}
