package reference

import (
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// A field is one line of a page.
type field struct {
	path, typ, meaning string
}

var (
	rawMessage  = reflect.TypeFor[json.RawMessage]()
	intOrString = reflect.TypeFor[mesh.IntOrString]()
	moment      = reflect.TypeFor[time.Time]()
)

// fieldsOf lists the fields of a struct and of all below it. What a struct has
// is listed where it comes first; seen notes where that is.
func (c comments) fieldsOf(path string, t reflect.Type, seen map[reflect.Type]string) (all []field) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		at := name
		if path != "" {
			at = path + "." + name
		}
		suffix, inner := below(f.Type)
		typ := typeName(inner, options)
		meaning := c.ofField(t, f.Name)
		if meaning == "" && inner.Kind() == reflect.Struct {
			meaning = c.of(inner)
		}
		nested := inner.Kind() == reflect.Struct && inner != moment && inner.NumField() > 0
		first, twice := seen[inner]
		if nested && twice {
			meaning = strings.TrimSuffix(meaning, ".") + "; fields as of `" + first + "`"
		}
		all = append(all, field{at + suffix, typ, strings.TrimPrefix(meaning, "; ")})
		if nested && !twice {
			seen[inner] = at + suffix
			all = append(all, c.fieldsOf(at+suffix, inner, seen)...)
		}
	}
	return all
}

// below looks through pointers, lists and maps.
func below(t reflect.Type) (suffix string, inner reflect.Type) {
	for {
		switch {
		case t == rawMessage || t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
			return suffix, t
		case t.Kind() == reflect.Pointer:
			t = t.Elem()
		case t.Kind() == reflect.Slice:
			suffix += "[]"
			t = t.Elem()
		case t.Kind() == reflect.Map:
			if t.Elem().Kind() == reflect.String {
				return suffix, t
			}
			suffix += `["…"]`
			t = t.Elem()
		default:
			return suffix, t
		}
	}
}

func typeName(inner reflect.Type, options string) string {
	switch {
	case strings.Contains(options, "string"):
		return "number as text"
	case inner == rawMessage:
		return "anything"
	case inner == intOrString:
		return "number or text"
	case inner == moment:
		return "time"
	case inner.Kind() == reflect.Slice:
		return "base64"
	case inner.Kind() == reflect.Struct:
		return "object"
	case inner.Kind() == reflect.Map:
		return "texts by key"
	case inner.Kind() == reflect.String:
		return "text"
	case inner.Kind() == reflect.Bool:
		return "true or false"
	case inner.Kind() == reflect.Float64:
		return "number"
	default:
		return "whole number"
	}
}
