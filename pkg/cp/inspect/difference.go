package inspect

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/plan"
	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
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
	step := snapshot.Between(was, is)
	for _, dp := range slices.Sorted(maps.Keys(names)) {
		if ctx.Err() != nil {
			break
		}
		doc.Looked++
		before, same := planned(was, step, dp)
		if same {
			continue
		}
		after, _ := planned(is, step, dp)
		text, err := plansDiffer(before, after)
		if err != nil {
			return fmt.Errorf("print the plan of %s: %w", dp, err)
		}
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

// A planText is a plan, or what of it differs from another, as it is shown.
type planText struct {
	Plan     *proxy.Config  `json:"plan,omitempty"`
	Left     string         `json:"andMore,omitempty"`
	Warnings []plan.Warning `json:"warnings,omitempty"`
}

// planned is the plan of a dataplane and what it warns of; nothing where there
// is none. same says that it is the plan after step, too, as it read nothing that
// is different there.
func planned(m *snapshot.Mesh, step *snapshot.Step, name string) (text planText, same bool) {
	if m == nil || m.Dataplane(name) == nil {
		return planText{}, false
	}
	view := snapshot.NewView(m)
	text.Plan, text.Warnings = plan.For(view, name)
	return text, view.After(step)
}

// maxParts is how many inbounds, outbounds or clusters of one plan are told of
// where they differ.
const maxParts = 25

// plansDiffer tells how two plans differ, and looks only at parts that do: a
// plan of a large mesh has thousands of them. That a proxy comes or goes is
// told without all that it would be told.
func plansDiffer(was, is planText) (string, error) {
	switch {
	case was.Plan == nil && is.Plan == nil:
		return "", nil
	case was.Plan == nil:
		return "+(a proxy of its own)\n", nil
	case is.Plan == nil:
		return "-(the proxy is gone)\n", nil
	}
	a, b := *was.Plan, *is.Plan
	left := 0
	a.Inbounds, b.Inbounds = differing(a.Inbounds, b.Inbounds, func(in proxy.Inbound) string { return in.Listen.String() }, &left)
	a.Outbounds, b.Outbounds = differing(a.Outbounds, b.Outbounds, func(out proxy.Outbound) string { return out.Name }, &left)
	a.Clusters, b.Clusters = differing(a.Clusters, b.Clusters, func(c proxy.Cluster) string { return c.Name }, &left)
	a.Secrets, b.Secrets = differing(a.Secrets, b.Secrets, func(s proxy.Secret) string { return s.Name }, &left)
	if left == 0 && reflect.DeepEqual(a, b) && slices.Equal(was.Warnings, is.Warnings) {
		return "", nil
	}
	was.Plan, is.Plan = &a, &b
	if left > 0 {
		was.Left, is.Left = "", fmt.Sprintf("%d more parts differ", left)
	}
	var texts [2][]byte
	for i, t := range []planText{was, is} {
		var err error
		if texts[i], err = yaml.Marshal(t); err != nil {
			return "", err
		}
	}
	return difference(texts[0], texts[1]), nil
}

// differing are those of two lists that are not the same in both; beyond
// maxParts they are counted.
func differing[T any](was, is []T, name func(T) string, left *int) (a, b []T) {
	before := make(map[string]int, len(was))
	for i := range was {
		before[name(was[i])] = i
	}
	take := func(list *[]T, part T) {
		if len(*list) < maxParts {
			*list = append(*list, part)
		} else {
			*left++
		}
	}
	for i := range is {
		n := name(is[i])
		j, there := before[n]
		delete(before, n)
		switch {
		case !there:
			take(&b, is[i])
		case !reflect.DeepEqual(was[j], is[i]):
			if len(a) < maxParts && len(b) < maxParts {
				a, b = append(a, was[j]), append(b, is[i])
			} else {
				*left++
			}
		}
	}
	for i := range was {
		if _, gone := before[name(was[i])]; gone {
			take(&a, was[i])
		}
	}
	return a, b
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

// Changed tells in unified form how a resource differs, by its YAML as people
// write it; either may be nil.
func Changed(was, is *mesh.Resource) (string, error) {
	var texts [2][]byte
	for i, r := range []*mesh.Resource{was, is} {
		if r == nil {
			continue
		}
		doc, err := api.EncodePlain(*r)
		if err == nil {
			texts[i], err = api.ToYAML(doc)
		}
		if err != nil {
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
