package api

import (
	"reflect"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// fields are the members that a struct has on the wire.
type fields struct {
	names  []string       // by index of the Go field; "" is not on the wire
	byName map[string]int // camelCase and snake_case
}

// known are the fields of the types that were asked for: a document may hold
// thousands of values of one type.
var known sync.Map // reflect.Type -> fields

func fieldsOf(t reflect.Type) fields {
	if fs, ok := known.Load(t); ok {
		return fs.(fields)
	}
	fs := fields{names: make([]string, t.NumField()), byName: map[string]int{}}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		fs.names[i] = name
		fs.byName[name] = i
		fs.byName[snake(name)] = i
	}
	known.Store(t, fs)
	return fs
}

// snake turns servicePort into service_port, the name in the protobuf sources.
func snake(camel string) string {
	var b strings.Builder
	for _, r := range camel {
		if unicode.IsUpper(r) {
			b.WriteByte('_')
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}

// unknownField is the message for a key that is none of known.
func unknownField(key string, known []string) string {
	all := slices.DeleteFunc(slices.Clone(known), func(k string) bool { return k == "" })
	near, ok := mesh.Nearest(key, all)
	switch {
	case ok:
		return `unknown field; did you mean "` + near + `"?`
	case len(all) == 0:
		return "unknown field; nothing can be set here"
	default:
		return "unknown field; there are " + strings.Join(all, ", ")
	}
}
