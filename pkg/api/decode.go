package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"
	"unicode/utf8"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// ErrTooLarge is wrapped where a document has more than MaxDocument bytes.
var ErrTooLarge = errors.New("document is too large")

// Decode reads one JSON or YAML document. All that does not fit comes back at
// once as mesh.Violations; a *SyntaxError says that it is no document at all.
// Whether a resource makes sense is for its Validate to say. The fields that
// only the control plane writes (creationTime, modificationTime, kri, status,
// snis) are accepted and ignored.
func Decode(data []byte) (mesh.Resource, error) { return decode(nil, data) }

// DecodeAs is Decode for a document whose kind is known, for example by its
// URL: another type is a violation, none is accepted.
func DecodeAs(k *mesh.Kind, data []byte) (mesh.Resource, error) { return decode(k, data) }

// DecodeLenient is DecodeAs for who would rather lose a field than be refused:
// fields that nobody knows are left out, and told.
func DecodeLenient(k *mesh.Kind, data []byte) (r mesh.Resource, unknown mesh.Violations, err error) {
	f := filler{lenient: true}
	r, err = f.decode(k, data)
	return r, f.dropped, err
}

func decode(k *mesh.Kind, data []byte) (mesh.Resource, error) {
	var f filler
	return f.decode(k, data)
}

func (f *filler) decode(k *mesh.Kind, data []byte) (mesh.Resource, error) {
	n, twice, err := parse(data, 1)
	if err != nil {
		return mesh.Resource{}, err
	}
	r := f.resource(k, n)
	if err := append(twice, f.wrong...).Err(); err != nil {
		return mesh.Resource{}, err
	}
	return r, nil
}

// parse reads JSON where data is JSON, else YAML. line is where data begins.
func parse(data []byte, line int) (node, mesh.Violations, error) {
	if len(data) > MaxDocument {
		return node{}, nil, fmt.Errorf("%w: it has %d bytes, %d are allowed", ErrTooLarge, len(data), MaxDocument)
	}
	if !utf8.Valid(data) {
		return node{}, nil, &SyntaxError{Text: "it has bytes that are no text in UTF-8; base64 is for what is none"}
	}
	isJSON := bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) && json.Valid(data)
	if values(data, !isJSON) > maxValues {
		return node{}, nil, &SyntaxError{Text: fmt.Sprintf("it has more than %d values", maxValues)}
	}
	if isJSON {
		return parseJSON(data)
	}
	return parseYAML(data, line)
}

// values counts what may begin a value: lines, where they mean something, and
// what stands before the items of lists and objects.
func values(data []byte, lines bool) (n int) {
	begins := lines
	for _, c := range data {
		switch c {
		case ',', '[', '{':
			n++
		case '\n':
			begins = lines
			continue
		case ' ', '\t', '\r':
			continue
		}
		if begins && c != '#' {
			n++
		}
		begins = false
	}
	return n
}

// meta is what stands beside the spec. Its order is that of Encode.
type meta struct {
	Type             string            `json:"type"`
	Mesh             string            `json:"mesh,omitempty"`
	Name             string            `json:"name"`
	CreationTime     *time.Time        `json:"creationTime,omitempty"`
	ModificationTime *time.Time        `json:"modificationTime,omitempty"`
	Labels           map[string]string `json:"labels,omitempty"`
	KRI              string            `json:"kri,omitempty"`
}

// outputOnly are the fields that the control plane writes.
var outputOnly = map[string]bool{
	"creationTime": true, "creation_time": true, "modificationTime": true, "modification_time": true,
	"kri": true, "status": true, "snis": true,
}

// resource makes a resource of a document. With k nil the document has to name
// its kind.
func (f *filler) resource(k *mesh.Kind, n node) mesh.Resource {
	if n.shape != object {
		f.want("", `an object with "type", "name" and more`, n)
		return mesh.Resource{}
	}
	var m struct {
		Type, Mesh, Name string
		Labels           map[string]string
	}
	rest := node{shape: object}
	for _, e := range n.members {
		switch {
		case e.key == "type":
			f.fill(e.key, e.value, reflect.ValueOf(&m.Type).Elem())
		case e.key == "mesh":
			f.fill(e.key, e.value, reflect.ValueOf(&m.Mesh).Elem())
		case e.key == "name":
			f.fill(e.key, e.value, reflect.ValueOf(&m.Name).Elem())
		case e.key == "labels":
			f.fill(e.key, e.value, reflect.ValueOf(&m.Labels).Elem())
		case !outputOnly[e.key], k != nil && k.ReadOnly: // what is only told says more of itself
			rest.members = append(rest.members, e)
		}
	}
	k = f.kind(k, m.Type, len(f.wrong) > 0)
	if k == nil {
		return mesh.Resource{}
	}
	if k.Scope == mesh.Global && m.Mesh == m.Name {
		m.Mesh = "" // as older clients write a Mesh
	}
	spec := k.New()
	f.spec(k, rest, reflect.ValueOf(spec).Elem())
	return mesh.Resource{Kind: k, Meta: mesh.Meta{Mesh: m.Mesh, Name: m.Name, Labels: m.Labels}, Spec: spec}
}

// kind finds the kind that typ names. told says that its fault is noted.
func (f *filler) kind(want *mesh.Kind, typ string, told bool) *mesh.Kind {
	if typ == "" && (want != nil || told) {
		return want
	}
	if want != nil {
		if typ != want.Name {
			f.add("type", "must be %q, is %q", want.Name, shorten(typ))
		}
		return want
	}
	k, ok := mesh.KindByName(typ)
	if ok {
		return k
	}
	switch near, ok := mesh.NearestKind(typ); {
	case typ == "":
		f.add("type", "must say what this is, as in \"type: %s\"", mesh.TrafficPermissionKind.Name)
	case ok:
		f.add("type", "there is no type %q; did you mean %q?", shorten(typ), near.Name)
	default:
		f.add("type", "there is no type %q; GET /_resources lists them", shorten(typ))
	}
	return nil
}

// spec fills in what is not meta. Newer kinds have it under "spec", older ones
// have not, and who knows one kind errs with the other.
func (f *filler) spec(k *mesh.Kind, rest node, v reflect.Value) {
	if nested := k.Nested(); !f.lenient {
		kept := rest.members[:0:0]
		for _, e := range rest.members {
			switch {
			case nested && e.key != "spec":
				f.add(child("", e.key), `unknown field; the fields of a %s stand under "spec"`, k.Name)
			case !nested && e.key == "spec":
				f.add("spec", `unknown field; the fields of a %s stand beside "type" and "name"`, k.Name)
			default:
				kept = append(kept, e)
			}
		}
		rest.members = kept
	}
	f.fillStruct("", rest, v)
}
