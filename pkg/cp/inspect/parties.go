package inspect

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// A party is one side of a call: a service, a dataplane or whatever has some
// tags.
type party struct {
	api.Party
	service    string           // "": it was asked for by other tags alone
	tags       mesh.Tags        // that were asked for; nil: none
	dataplanes []*mesh.Resource // that are meant, by name
}

// maxNamed is how many names an error lists where none is near.
const maxNamed = 10

// partyOf finds who is meant: "kuma.io/service=web,version=v1" by tags, else a
// service, with or without the mesh's domain, else a dataplane. It fails with
// mesh.Violations about field.
func partyOf(m *snapshot.Mesh, field, asked string) (party, error) {
	p := party{Party: api.Party{Asked: asked}}
	var v mesh.Violations
	switch {
	case asked == "":
		v.Add(field, "must be a service, a dataplane, or tags such as %s=web,version=v1", mesh.ServiceTag)
		return p, v
	case strings.Contains(asked, "="):
		return p.byTags(m, field)
	}
	name := strings.TrimSuffix(strings.TrimSuffix(asked, fmt.Sprintf(":%d", proxy.VIPPort)), "."+proxy.Domain)
	if _, ok := m.Services().Get(name); ok {
		p.service, p.Service = name, name
		p.dataplanes = offering(m, mesh.Tags{mesh.ServiceTag: name})
		return p, nil
	}
	if r := m.Dataplane(asked); r != nil {
		p.dataplanes = []*mesh.Resource{r}
		p.Dataplane = asked
		if of := r.Spec.(*mesh.Dataplane).Services(); len(of) > 0 {
			p.service, p.Service = of[0], of[0]
		}
		return p, nil
	}
	v.Add(field, "%s", nobody(m, asked))
	return p, v
}

func (p party) byTags(m *snapshot.Mesh, field string) (party, error) {
	var v mesh.Violations
	p.tags = mesh.Tags{}
	for part := range strings.SplitSeq(p.Asked, ",") {
		key, value, ok := strings.Cut(part, "=")
		if !ok || key == "" || value == "" {
			v.Add(field, "%.100q is not a tag: write key=value", part)
			continue
		}
		p.tags[key] = value
	}
	if len(v) > 0 {
		return p, v
	}
	p.Tags, p.service = p.tags, p.tags.Service()
	p.Service = p.service
	p.dataplanes = offering(m, p.tags)
	if s, _ := m.Services().Get(p.service); len(p.dataplanes) == 0 && s.External == nil {
		v.Add(field, "no dataplane of mesh %s has %s", m.Name(), p.tags)
		if s.Name == "" && p.service != "" {
			v[0].Reason += "; " + nobody(m, p.service)
		}
		return p, v
	}
	return p, nil
}

// offering lists the dataplanes with a part that carries all of tags.
func offering(m *snapshot.Mesh, tags mesh.Tags) (rs []*mesh.Resource) {
	s := mesh.Selector{Match: tags}
	for _, r := range m.Dataplanes() {
		if slices.ContainsFunc(r.Spec.(*mesh.Dataplane).TagSets(), s.Matches) {
			rs = append(rs, r)
		}
	}
	return rs
}

// nobody says that a name is none, and what may have been meant.
func nobody(m *snapshot.Mesh, name string) string {
	var known []string
	for s := range m.Services().All() {
		known = append(known, s.Name)
	}
	services := len(known)
	for _, r := range m.Dataplanes() {
		known = append(known, r.Meta.Name)
	}
	text := fmt.Sprintf("mesh %s has no service and no dataplane %.100q", m.Name(), name)
	if near, ok := mesh.Nearest(name, known); ok {
		return fmt.Sprintf("%s; did you mean %q?", text, near)
	}
	if services == 0 {
		return text + "; it has no service at all"
	}
	text += "; its services are " + strings.Join(known[:min(services, maxNamed)], ", ")
	if services > maxNamed {
		text += fmt.Sprintf(" and %d more", services-maxNamed)
	}
	return text
}
