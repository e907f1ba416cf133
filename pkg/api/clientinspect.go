package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// Diff asks what would change if all of rs were put.
func (c *Client) Diff(ctx context.Context, rs []mesh.Resource) (*Difference, error) {
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
	a, err := c.call(ctx, http.MethodPost, "/_weft/diff", body.Bytes())
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
