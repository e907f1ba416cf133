package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// pageSize is the largest page that a control plane gives.
const pageSize = 1000

// Get fetches one resource, its times and version included. Fields that this version does
// not know are left out.
func (c *Client) Get(ctx context.Context, k *mesh.Kind, meshName, name string) (mesh.Resource, error) {
	a, err := c.call(ctx, http.MethodGet, itemPath(k, meshName, name), nil)
	if err != nil {
		return mesh.Resource{}, err
	}
	r, err := received(k, a.body)
	if err != nil {
		return mesh.Resource{}, fmt.Errorf("read the answer of %s: %w", c.server, err)
	}
	r.Meta.Version = a.version
	return r, nil
}

// List fetches all resources of a kind, page by page. meshName "" lists them
// in every mesh.
func (c *Client) List(ctx context.Context, k *mesh.Kind, meshName string) (rs []mesh.Resource, err error) {
	err = c.pages(ctx, listPath(k, meshName), url.Values{}, func(item json.RawMessage) error {
		r, err := received(k, item)
		rs = append(rs, r)
		return err
	})
	return rs, err
}

// pages gives take every item of a list.
func (c *Client) pages(ctx context.Context, path string, query url.Values, take func(json.RawMessage) error) error {
	query.Set("size", strconv.Itoa(pageSize))
	for seen := map[string]bool{}; ; {
		a, err := c.call(ctx, http.MethodGet, path+"?"+query.Encode(), nil)
		if err != nil {
			return err
		}
		var p Page
		if err := json.Unmarshal(a.body, &p); err != nil {
			return fmt.Errorf("read the answer of %s: %w", c.server, err)
		}
		for _, item := range p.Items {
			if err := take(item); err != nil {
				return fmt.Errorf("read the answer of %s: %w", c.server, err)
			}
		}
		if p.Next == nil || *p.Next == "" {
			return nil
		}
		// Only the offset is taken from the answer: the token is for our
		// server alone.
		next, err := url.Parse(*p.Next)
		if err != nil {
			return fmt.Errorf("read the answer of %s: next page: %w", c.server, err)
		}
		offset := next.Query().Get("offset")
		if offset == "" || seen[offset] {
			return fmt.Errorf("read the answer of %s: its next page %q leads nowhere", c.server, shorten(*p.Next))
		}
		seen[offset] = true
		query.Set("offset", offset)
	}
}

// Put creates or replaces r and tells whether it is new, and what the control
// plane says of it.
func (c *Client) Put(ctx context.Context, r mesh.Resource) (created bool, result PutResult, err error) {
	body, err := Encode(r)
	if err != nil {
		return false, result, err
	}
	a, err := c.call(ctx, http.MethodPut, itemPath(r.Kind, r.Meta.Mesh, r.Meta.Name), body)
	if err != nil {
		return false, result, err
	}
	if err := json.Unmarshal(a.body, &result); err != nil {
		return false, result, fmt.Errorf("read the answer of %s: %w", c.server, err)
	}
	result.Version = a.version
	return a.status == http.StatusCreated, result, nil
}

// Delete deletes one resource. An *Error of status 404 says there is none.
func (c *Client) Delete(ctx context.Context, k *mesh.Kind, meshName, name string) error {
	_, err := c.call(ctx, http.MethodDelete, itemPath(k, meshName, name), nil)
	return err
}

// Affected returns the dataplanes that a policy or service acts on, how many of
// them there are, and the names of the first.
func (c *Client) Affected(ctx context.Context, k *mesh.Kind, meshName, name string) (total int, names []string, err error) {
	var p Page
	if err := c.getJSON(ctx, itemPath(k, meshName, name)+"/_resources/dataplanes", &p); err != nil {
		return 0, nil, err
	}
	for _, item := range p.Items {
		var m meta
		if err := json.Unmarshal(item, &m); err != nil {
			return 0, nil, fmt.Errorf("read the answer of %s: %w", c.server, err)
		}
		names = append(names, m.Name)
	}
	return p.Total, names, nil
}

// DataplaneInsight tells how the proxy of a dataplane fares.
func (c *Client) DataplaneInsight(ctx context.Context, meshName, name string) (in DataplaneInsight, err error) {
	var doc struct {
		Insight DataplaneInsight `json:"dataplaneInsight"`
	}
	err = c.getJSON(ctx, itemPath(mesh.DataplaneKind, meshName, name)+"/_overview", &doc)
	return doc.Insight, err
}

// DataplaneToken asks for a dataplane token. It is a secret.
func (c *Client) DataplaneToken(ctx context.Context, req DataplaneTokenRequest) (string, error) {
	if req.Tags == nil {
		req.Tags = map[string][]string{}
	}
	body, err := json.Marshal(req)
	if err != nil {
		return "", err
	}
	a, err := c.call(ctx, http.MethodPost, "/tokens/dataplane", body)
	return strings.TrimSpace(string(a.body)), err
}

// Stage returns what a stage of the pipeline (resource, plan, render, stream)
// has for one dataplane, as YAML.
func (c *Client) Stage(ctx context.Context, meshName, name, stage string) ([]byte, error) {
	a, err := c.call(ctx, http.MethodGet, itemPath(mesh.DataplaneKind, meshName, name)+"/_stages/"+url.PathEscape(stage), nil)
	return a.body, err
}

// Info tells which control plane answers.
func (c *Client) Info(ctx context.Context) (i Info, err error) {
	err = c.getJSON(ctx, "/", &i)
	return i, err
}

// Hosts tells how agents reach the control plane and know it.
func (c *Client) Hosts(ctx context.Context) (h Hosts, err error) {
	err = c.getJSON(ctx, "/_weft/hosts", &h)
	return h, err
}

func (c *Client) getJSON(ctx context.Context, path string, into any) error {
	a, err := c.call(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(a.body, into); err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.server, err)
	}
	return nil
}

func listPath(k *mesh.Kind, meshName string) string {
	if k.Scope == mesh.Global || meshName == "" {
		return "/" + k.Path
	}
	return "/meshes/" + url.PathEscape(meshName) + "/" + k.Path
}

func itemPath(k *mesh.Kind, meshName, name string) string {
	return listPath(k, meshName) + "/" + url.PathEscape(name)
}

// received reads a resource that a control plane sent, its times included.
func received(k *mesh.Kind, data []byte) (mesh.Resource, error) {
	n, _, err := parse(data, 1)
	if err != nil {
		return mesh.Resource{}, err
	}
	f := filler{lenient: true}
	r := f.resource(k, n)
	if err := f.wrong.Err(); err != nil {
		return mesh.Resource{}, err
	}
	var m meta
	if err := json.Unmarshal(data, &m); err != nil {
		return mesh.Resource{}, err
	}
	if m.CreationTime != nil {
		r.Meta.Created = m.CreationTime.UTC()
	}
	if m.ModificationTime != nil {
		r.Meta.Modified = m.ModificationTime.UTC()
	}
	return r, nil
}
