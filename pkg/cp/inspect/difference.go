package inspect

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/plan"
	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// Bounds of an answer.
const (
	maxLines   = 200 // of one diff
	maxGroups  = 20  // of proxies that change alike
	maxProxies = 20  // named of each group
	maxShared  = 20
)

// Compare tells which proxies' plans changes would alter, and how. It plans
// every proxy of the meshes that change, once, and those that read something
// that is different then a second time, until ctx ends: how far it came is in
// the answer. changes carry the times that the resources would have.
func Compare(ctx context.Context, now *snapshot.State, changes []store.Change) (*api.Difference, error) {
	next := snapshot.Next(now, snapshot.Input{Changes: changes})
	doc := &api.Difference{Resources: []api.ResourceChange{}, Proxies: []api.ProxyChange{}}
	touched := map[string]bool{}
	for _, c := range changes {
		if c.Key.Kind == mesh.MeshKind.Name {
			touched[c.Key.Name] = true
		} else if c.Key.Mesh != "" {
			touched[c.Key.Mesh] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(touched)) {
		if err := compareMesh(ctx, doc, now.Mesh(name), next.Mesh(name), name); err != nil {
			return nil, err
		}
	}
	return doc, nil
}

func compareMesh(ctx context.Context, doc *api.Difference, was, is *snapshot.Mesh, name string) error {
	groups := map[string]int{} // what changes: place in doc.Proxies
	names := map[string]bool{}
	for _, m := range []*snapshot.Mesh{was, is} {
		for _, r := range dataplanes(m) {
			names[r.Meta.Name] = true
		}
	}
	doc.Of += len(names)
	for _, dp := range slices.Sorted(maps.Keys(names)) {
		if ctx.Err() != nil {
			break
		}
		doc.Looked++
		before, same, err := planText(was, is, dp)
		if err != nil {
			return err
		}
		if same {
			continue
		}
		after, _, err := planText(is, nil, dp)
		if err != nil {
			return err
		}
		text := difference(before, after)
		if text == "" {
			continue
		}
		alike := changedLines(text)
		at, known := groups[alike]
		switch {
		case known && len(doc.Proxies[at].Proxies) < maxProxies:
			doc.Proxies[at].Proxies = append(doc.Proxies[at].Proxies, dp)
		case known:
			doc.Proxies[at].More++
		default:
			groups[alike] = len(doc.Proxies)
			c := api.ProxyChange{Mesh: name, Proxies: []string{dp}}
			if len(doc.Proxies) < maxGroups {
				c.Diff, c.Cut = cut(text)
			} else {
				c.Cut = strings.Count(text, "\n")
			}
			doc.Proxies = append(doc.Proxies, c)
		}
	}
	return compareShared(doc, was, is, name)
}

func dataplanes(m *snapshot.Mesh) []*mesh.Resource {
	if m == nil {
		return nil
	}
	return m.Dataplanes()
}

// planText is the plan of a dataplane and what it warns of, as YAML; nothing
// where there is none. same says that it is the plan in next, too, as it read
// nothing that is different there.
func planText(m, next *snapshot.Mesh, name string) (text []byte, same bool, err error) {
	if m == nil || m.Dataplane(name) == nil {
		return nil, false, nil
	}
	view := snapshot.NewView(m)
	c, warnings := plan.For(view, name)
	if view.Fresh(next) {
		return nil, true, nil
	}
	text, err = yaml.Marshal(struct {
		Plan     any            `json:"plan"`
		Warnings []plan.Warning `json:"warnings,omitempty"`
	}{c, warnings})
	if err != nil {
		return nil, false, fmt.Errorf("print the plan of %s: %w", name, err)
	}
	return text, false, nil
}

// compareShared tells of the endpoints that every proxy of the mesh is told of.
func compareShared(doc *api.Difference, was, is *snapshot.Mesh, name string) error {
	for _, service := range snapshot.Changed(was, is) {
		var texts [2][]byte
		for i, m := range []*snapshot.Mesh{was, is} {
			if m == nil {
				continue
			}
			var err error
			if texts[i], err = yaml.Marshal(plan.Endpoints(m, service)); err != nil {
				return fmt.Errorf("print the endpoints of %s: %w", service, err)
			}
		}
		text := difference(texts[0], texts[1])
		if text == "" {
			continue
		}
		c := api.SharedChange{Mesh: name, What: "endpoints of service " + service}
		if len(doc.Shared) < maxShared {
			c.Diff, c.Cut = cut(text)
		}
		doc.Shared = append(doc.Shared, c)
	}
	return nil
}

// Changed tells in unified form how a resource differs, by its YAML without
// times; either may be nil.
func Changed(was, is *mesh.Resource) (string, error) {
	var texts [2][]byte
	for i, r := range []*mesh.Resource{was, is} {
		if r == nil {
			continue
		}
		plain := *r
		plain.Meta = mesh.Meta{Mesh: r.Meta.Mesh, Name: r.Meta.Name, Labels: r.Meta.Labels}
		var err error
		if texts[i], err = api.EncodeYAML(plain); err != nil {
			return "", err
		}
	}
	text, cutOff := cut(difference(texts[0], texts[1]))
	if cutOff > 0 {
		text += fmt.Sprintf("… and %d lines more\n", cutOff)
	}
	return text, nil
}

// difference is a unified diff without the lines that name files.
func difference(a, b []byte) string {
	text := diff.Diff("was", a, "is", b)
	for range 3 {
		_, rest, ok := bytes.Cut(text, []byte("\n"))
		if !ok {
			return ""
		}
		text = rest
	}
	return string(text)
}

// changedLines are the lines of a diff that come or go: not what they stand
// among, as every plan has names of its own.
func changedLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line[0] == '+' || line[0] == '-' {
			b.WriteString(line)
		}
	}
	return b.String()
}

// cut bounds a diff, and tells how many lines are left out.
func cut(text string) (string, int) {
	n, end := 0, 0
	for line := range strings.Lines(text) {
		if n < maxLines {
			end += len(line)
		}
		n++
	}
	return text[:end], max(0, n-maxLines)
}
