package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// A columnOf is a heading and what stands under it.
type columnOf[T any] struct {
	head string
	cell func(*global, T) string
}

type column = columnOf[mesh.Resource]

var (
	meshColumn = column{"MESH", func(_ *global, r mesh.Resource) string { return r.Meta.Mesh }}
	nameColumn = column{"NAME", func(_ *global, r mesh.Resource) string { return r.Meta.Name }}
	ageColumn  = column{"AGE", func(g *global, r mesh.Resource) string { return age(r.Meta.Created, g.now()) }}
)

// columns are those of kumactl, whose users' scripts cut them.
func columns(k *mesh.Kind) []column {
	switch {
	case k == mesh.MeshKind:
		return []column{nameColumn, {"mTLS", mtls}, {"LOCALITY", locality}, {"ZONEEGRESS", egress}, ageColumn}
	case k == mesh.DataplaneKind:
		return []column{meshColumn, nameColumn, {"TAGS", tags}, {"ADDRESS", address}, ageColumn}
	case k == mesh.ExternalServiceKind:
		return []column{meshColumn, nameColumn, {"TAGS", outsideTags}, {"ADDRESS", outsideAddress}, ageColumn}
	case k.Scope == mesh.InMesh:
		return []column{meshColumn, nameColumn, ageColumn}
	default:
		return []column{nameColumn, ageColumn}
	}
}

func (g *global) table(k *mesh.Kind, rs []mesh.Resource) error { return printRows(g, columns(k), rs) }

// printPage shows all of a list as a table, or as the document that REST has of it.
func printPage[T any](g *global, output string, columns []columnOf[T], all []T, encode func(T) ([]byte, error)) error {
	if output == outputTable {
		return printRows(g, columns, all)
	}
	docs := make([]json.RawMessage, len(all))
	for i, of := range all {
		b, err := encode(of)
		if err != nil {
			return err
		}
		docs[i] = b
	}
	return g.document(output, api.NewPage(len(docs), docs, ""))
}

func printRows[T any](g *global, cs []columnOf[T], all []T) error {
	w := tabwriter.NewWriter(g.out, 0, 0, 3, ' ', 0)
	row := func(text func(columnOf[T]) string) {
		var cells []string
		for _, c := range cs {
			cells = append(cells, text(c))
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	row(func(c columnOf[T]) string { return c.head })
	for _, of := range all {
		row(func(c columnOf[T]) string { return c.cell(g, of) })
	}
	return w.Flush()
}

func mtls(_ *global, r mesh.Resource) string {
	if b := r.Spec.(*mesh.MeshSpec).Backend(); b != nil {
		return b.Type + "/" + b.Name
	}
	return "off"
}

func locality(_ *global, r mesh.Resource) string {
	routing := r.Spec.(*mesh.MeshSpec).Routing
	return onOff(routing != nil && routing.LocalityAwareLoadBalancing)
}

func egress(_ *global, r mesh.Resource) string {
	routing := r.Spec.(*mesh.MeshSpec).Routing
	return onOff(routing != nil && routing.ZoneEgress)
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// tags joins those of all inbounds: "version=v1,v2 kuma.io/service=web".
func tags(_ *global, r mesh.Resource) string {
	n := &r.Spec.(*mesh.Dataplane).Networking
	values := map[string][]string{}
	add := func(t mesh.Tags) {
		for k, v := range t {
			values[k] = append(values[k], v)
		}
	}
	for _, in := range n.Inbound {
		add(in.Tags)
	}
	if n.Gateway != nil {
		add(n.Gateway.Tags)
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(values)) {
		slices.Sort(values[k])
		parts = append(parts, k+"="+strings.Join(slices.Compact(values[k]), ","))
	}
	return strings.Join(parts, " ")
}

func outsideTags(_ *global, r mesh.Resource) string {
	t := r.Spec.(*mesh.ExternalService).Tags
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(t)) {
		parts = append(parts, k+"="+t[k])
	}
	return strings.Join(parts, " ")
}

func outsideAddress(_ *global, r mesh.Resource) string {
	return r.Spec.(*mesh.ExternalService).Networking.Address
}

func address(_ *global, r mesh.Resource) string { return r.Spec.(*mesh.Dataplane).Networking.Address }

// age is a time span in its largest sensible unit.
func age(since, now time.Time) string {
	d := max(0, now.Sub(since))
	switch {
	case since.IsZero():
		return "unknown"
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
}
