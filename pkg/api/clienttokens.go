package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// ZoneToken asks for a zone token. It is a secret.
func (c *Client) ZoneToken(ctx context.Context, req ZoneTokenRequest) (string, error) {
	return c.askToken(ctx, "/tokens/zone", req)
}

// UserToken asks for a user token. It is a secret.
func (c *Client) UserToken(ctx context.Context, req UserTokenRequest) (string, error) {
	return c.askToken(ctx, "/tokens/user", req)
}

func (c *Client) askToken(ctx context.Context, path string, req any) (string, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return "", err
	}
	a, err := c.call(ctx, http.MethodPost, path, body)
	return strings.TrimSpace(string(a.body)), err
}

// SigningKeys lists the keys that sign tokens of a kind: "dataplane", of a mesh,
// "zone" or "user".
func (c *Client) SigningKeys(ctx context.Context, kind, meshName string) (k SigningKeys, err error) {
	err = c.getJSON(ctx, tokensPath(kind, meshName)+"/keys", &k)
	return k, err
}

// RotateSigningKey makes another key, which signs from then on.
func (c *Client) RotateSigningKey(ctx context.Context, kind, meshName string) (k SigningKeys, err error) {
	a, err := c.call(ctx, http.MethodPost, tokensPath(kind, meshName)+"/keys", nil)
	if err != nil {
		return k, err
	}
	err = json.Unmarshal(a.body, &k)
	return k, err
}

// DropSigningKey deletes a key that signs no more: its tokens are good no more.
func (c *Client) DropSigningKey(ctx context.Context, kind, meshName, id string) error {
	_, err := c.call(ctx, http.MethodDelete, tokensPath(kind, meshName)+"/keys/"+url.PathEscape(id), nil)
	return err
}

// Revoke makes the token of an id good no more.
func (c *Client) Revoke(ctx context.Context, kind, meshName, id string) error {
	body, err := json.Marshal(Revocation{ID: id})
	if err != nil {
		return err
	}
	_, err = c.call(ctx, http.MethodPost, tokensPath(kind, meshName)+"/revocations", body)
	return err
}

func tokensPath(kind, meshName string) string {
	if kind == "dataplane" {
		return "/meshes/" + url.PathEscape(meshName) + "/_weft/tokens/dataplane"
	}
	return "/_weft/tokens/" + kind
}
