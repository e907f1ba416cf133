package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"go.yaml.in/yaml/v2"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// Encode returns r as one compact JSON document: type, mesh, name, times,
// labels and KRI, then the fields of its spec, each where it is set. Equal
// resources have equal bytes. The zone of the KRI is that of the label
// kuma.io/zone.
func Encode(r mesh.Resource) ([]byte, error) { return encodeAs(r.Kind.Name, r, r.Spec) }

// EncodePlain is Encode without what the control plane adds by itself: the
// document that r's author would write.
func EncodePlain(r mesh.Resource) ([]byte, error) {
	m := meta{Type: r.Kind.Name, Mesh: r.Meta.Mesh, Name: r.Meta.Name, Labels: map[string]string{}}
	for k, v := range r.Meta.Labels {
		if !slices.Contains(mesh.ComputedLabels, k) {
			m.Labels[k] = v
		}
	}
	return encode(r, m, r.Spec)
}

// encodeAs is Encode with another type and other fields after what r is called.
func encodeAs(name string, r mesh.Resource, fields any) ([]byte, error) {
	return encode(r, meta{
		Type:             name,
		Mesh:             r.Meta.Mesh,
		Name:             r.Meta.Name,
		CreationTime:     timeOrNil(r.Meta.Created),
		ModificationTime: timeOrNil(r.Meta.Modified),
		Labels:           r.Meta.Labels,
		KRI:              r.KRI(r.Meta.Labels[mesh.ZoneLabel]),
	}, fields)
}

func encode(r mesh.Resource, m meta, fields any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(m); err != nil {
		return nil, fmt.Errorf("encode %s: %w", r.Key(), err)
	}
	b.Truncate(b.Len() - len("}\n"))
	end := b.Len()
	if err := e.Encode(fields); err != nil {
		return nil, fmt.Errorf("encode %s: %w", r.Key(), err)
	}
	out := b.Bytes()
	if string(out[end:]) == "{}\n" {
		out[end] = '}'
		return out[:end+1], nil
	}
	out[end] = ',' // in place of the spec's "{"
	return out[:len(out)-1], nil
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// EncodeYAML returns r as one YAML document, in the key order of Encode.
func EncodeYAML(r mesh.Resource) ([]byte, error) {
	j, err := Encode(r)
	if err != nil {
		return nil, err
	}
	return ToYAML(j)
}

// ToYAML turns a JSON document into YAML and keeps the order of its keys.
func ToYAML(data []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := ordered(d)
	if err != nil {
		return nil, fmt.Errorf("turn JSON into YAML: %w", err)
	}
	return yaml.Marshal(v)
}

// ordered reads one value, objects as yaml.MapSlice.
func ordered(d *json.Decoder) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Number:
		return yamlNumber(t), nil
	case json.Delim:
		if t == '[' {
			return orderedList(d)
		}
		return orderedObject(d)
	default:
		return t, nil
	}
}

func orderedList(d *json.Decoder) (any, error) {
	vs := []any{}
	for d.More() {
		v, err := ordered(d)
		if err != nil {
			return nil, err
		}
		vs = append(vs, v)
	}
	_, err := d.Token()
	return vs, noEOF(err)
}

func orderedObject(d *json.Decoder) (any, error) {
	vs := yaml.MapSlice{}
	for d.More() {
		k, err := d.Token()
		if err != nil {
			return nil, err
		}
		v, err := ordered(d)
		if err != nil {
			return nil, err
		}
		vs = append(vs, yaml.MapItem{Key: k, Value: v})
	}
	_, err := d.Token()
	return vs, noEOF(err)
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// yamlNumber keeps every digit of an integer.
func yamlNumber(n json.Number) any {
	if i, err := n.Int64(); err == nil {
		return i
	}
	if u, err := strconv.ParseUint(n.String(), 10, 64); err == nil {
		return u
	}
	f, err := n.Float64()
	if err != nil {
		return n.String()
	}
	return f
}
