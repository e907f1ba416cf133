package reference

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// A schema is one of OpenAPI 3.0.
type schema map[string]any

// schemas makes those of all kinds and of what they consist of, as the
// components of an OpenAPI document.
func schemas(c comments) ([]byte, error) {
	w := schemaWriter{comments: c, all: map[string]schema{}}
	for _, k := range mesh.Kinds {
		w.kind(k)
	}
	data, err := json.MarshalIndent(w.all, "", " ")
	return append(data, '\n'), err
}

type schemaWriter struct {
	comments
	all map[string]schema
}

// kind writes the document of a kind, with what stands beside its fields.
func (w *schemaWriter) kind(k *mesh.Kind) {
	text := schema{"type": "string"}
	told := schema{"type": "string", "format": "date-time", "readOnly": true}
	props := map[string]any{
		"type": schema{"type": "string", "enum": []string{k.Name}}, "name": text,
		"labels":       schema{"type": "object", "additionalProperties": text},
		"creationTime": told, "modificationTime": told,
		"kri": schema{"type": "string", "readOnly": true},
	}
	required := []string{"type", "name"}
	if k.Scope == mesh.InMesh {
		props["mesh"] = text
		required = append(required, "mesh")
	}
	w.properties(reflect.TypeOf(k.New()).Elem(), props)
	doc := kindDoc(w.comments, k)
	if note := k.Note(); note != "" {
		doc += " Note: " + note + "."
	}
	w.all[k.Name+"Item"] = schema{"type": "object", "description": doc, "properties": props, "required": required}
}

// properties adds those of a struct.
func (w *schemaWriter) properties(t reflect.Type, props map[string]any) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		s := w.schema(f.Type)
		if strings.Contains(options, "string") {
			s = schema{"type": "string"}
		}
		if doc := w.ofField(t, f.Name); doc != "" {
			if _, ref := s["$ref"]; ref {
				s = schema{"allOf": []schema{s}}
			}
			s["description"] = doc
		}
		props[name] = s
	}
}

func (w *schemaWriter) schema(t reflect.Type) schema {
	switch t {
	case rawMessage:
		return schema{}
	case intOrString:
		return schema{"oneOf": []schema{{"type": "integer"}, {"type": "string"}}}
	case moment:
		return schema{"type": "string", "format": "date-time"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return w.schema(t.Elem())
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return schema{"type": "string", "format": "byte"}
		}
		return schema{"type": "array", "items": w.schema(t.Elem())}
	case reflect.Map:
		return schema{"type": "object", "additionalProperties": w.schema(t.Elem())}
	case reflect.Struct:
		return schema{"$ref": "#/components/schemas/" + w.named(t)}
	case reflect.String:
		return schema{"type": "string"}
	case reflect.Bool:
		return schema{"type": "boolean"}
	case reflect.Float64:
		return schema{"type": "number"}
	case reflect.Uint32, reflect.Uint64:
		return schema{"type": "integer", "minimum": 0}
	case reflect.Int, reflect.Int32, reflect.Int64:
		return schema{"type": "integer"}
	}
	panic(fmt.Sprintf("reference: no schema for %s", t))
}

// named writes a struct under its name, once.
func (w *schemaWriter) named(t reflect.Type) string {
	name := schemaName(t)
	if _, done := w.all[name]; done {
		return name
	}
	props := map[string]any{}
	s := schema{"type": "object", "properties": props, "additionalProperties": false}
	if doc := w.of(t); doc != "" {
		s["description"] = doc
	}
	w.all[name] = s
	w.properties(t, props)
	return name
}

// schemaName turns Targeted[…mesh.MeshTimeoutConf] into TargetedMeshTimeoutConf.
func schemaName(t reflect.Type) string {
	if t.Name() == "" {
		return "Empty"
	}
	base, of, made := strings.Cut(t.Name(), "[")
	if !made {
		return base
	}
	return base + strings.TrimSuffix(of[strings.LastIndex(of, ".")+1:], "]")
}
