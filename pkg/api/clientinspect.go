package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// Diff asks what would change if all of rs were put. Where all are in one mesh
// it asks that mesh alone, as who asks may see no other.
func (c *Client) Diff(ctx context.Context, rs []mesh.Resource) (*Difference, error) {
	if len(rs) == 0 {
		return &Difference{}, nil
	}
	var body bytes.Buffer
	for _, r := range rs {
		doc, err := Encode(r)
		if err != nil {
			return nil, err
		}
		body.WriteString("---\n")
		body.Write(doc)
		body.WriteByte('\n')
	}
	path := "/_weft/diff"
	if in := rs[0].Meta.Mesh; in != "" && !slices.ContainsFunc(rs, func(r mesh.Resource) bool { return r.Meta.Mesh != in }) {
		path = "/meshes/" + url.PathEscape(in) + "/_diff"
	}
	a, err := c.call(ctx, http.MethodPost, path, body.Bytes())
	if err != nil {
		return nil, err
	}
	d := &Difference{}
	if err := json.Unmarshal(a.body, d); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", c.server, err)
	}
	return d, nil
}

// A Question is what Explain asks: each side is a service, a dataplane, or
// tags as in "kuma.io/service=web,version=v1".
type Question struct {
	From, To     string
	Method, Path string   // "": GET, /
	Headers      []string // name:value
}

// Explain asks what becomes of a call.
func (c *Client) Explain(ctx context.Context, meshName string, q Question) (*Explanation, error) {
	values := url.Values{"from": {q.From}, "to": {q.To}}
	if q.Method != "" {
		values.Set("method", q.Method)
	}
	if q.Path != "" {
		values.Set("path", q.Path)
	}
	for _, h := range q.Headers {
		values.Add("header", h)
	}
	e := &Explanation{}
	return e, c.getJSON(ctx, "/meshes/"+url.PathEscape(meshName)+"/_explain?"+values.Encode(), e)
}

// Views of a dataplane that the control plane, or its Envoy, has.
const (
	ViewPolicies   = "policies"    // what acts on it
	ViewConfig     = "config"      // what the proxy is told
	ViewConfigDump = "config-dump" // what Envoy runs by
	ViewStats      = "stats"       // what Envoy counted
	ViewClusters   = "clusters"    // whom Envoy can call
)

// Views are all of them, by the path that tells.
var Views = map[string]string{ViewPolicies: "policies", ViewConfig: "_config", ViewConfigDump: "xds", ViewStats: "stats", ViewClusters: "clusters"}

// View returns one of Views as the control plane writes it. endpoints adds those
// to a config dump.
func (c *Client) View(ctx context.Context, meshName, name, view string, endpoints bool) ([]byte, error) {
	path := itemPath(mesh.DataplaneKind, meshName, name) + "/" + Views[view]
	if view == ViewConfigDump && endpoints {
		path += "?include_eds=true"
	}
	a, err := c.call(ctx, http.MethodGet, path, nil)
	return a.body, err
}

// An Overview is a resource together with how it fares.
type Overview struct {
	Resource mesh.Resource
	Insight  DataplaneInsight
	Document json.RawMessage // as it was told
}

// overviewed are the kinds that have overviews, with the field of what they say;
// how they fare stands in that field with Insight behind it.
var overviewed = map[*mesh.Kind]string{
	mesh.DataplaneKind: "dataplane", mesh.ZoneKind: "zone", mesh.ZoneIngressKind: "zoneIngress", mesh.ZoneEgressKind: "zoneEgress",
}

// Overviews returns the dataplanes, zones or proxies between zones (k) that
// query asks for, page by page: of one mesh, or with meshName "" of all.
func (c *Client) Overviews(ctx context.Context, k *mesh.Kind, meshName string, query url.Values) (all []Overview, err error) {
	field := overviewed[k]
	err = c.pages(ctx, listPath(k, meshName)+"/_overview", query, func(item json.RawMessage) error {
		var m meta
		doc := map[string]json.RawMessage{}
		o := Overview{Resource: mesh.Resource{Kind: k, Spec: k.New()}, Document: item}
		err := errors.Join(json.Unmarshal(item, &m), json.Unmarshal(item, &doc))
		for at, into := range map[string]any{field: o.Resource.Spec, field + "Insight": &o.Insight} {
			if text := doc[at]; text != nil {
				err = errors.Join(err, json.Unmarshal(text, into))
			}
		}
		o.Resource.Meta = mesh.Meta{Mesh: m.Mesh, Name: m.Name, Labels: m.Labels}
		all = append(all, o)
		return err
	})
	return all, err
}

// ActiveZones tells which zones are connected, the control plane's own among
// them, by name.
func (c *Client) ActiveZones(ctx context.Context) (map[string]bool, error) {
	var zones []struct {
		Name   string
		Active bool
	}
	err := c.getJSON(ctx, "/status/zones", &zones)
	active := map[string]bool{}
	for _, z := range zones {
		active[z.Name] = z.Active
	}
	return active, err
}
