package api

import (
	"reflect"
	"strings"
	"unicode"
)

// fields are the members that a struct has on the wire.
type fields struct {
	names  []string       // by index of the Go field; "" is not on the wire
	byName map[string]int // camelCase and snake_case
}

func fieldsOf(t reflect.Type) fields {
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
	best, distance := "", max(2, len(key)/3)+1
	var all []string
	for _, k := range known {
		if k == "" {
			continue
		}
		all = append(all, k)
		if len(key) > 64 { // far from every name
			continue
		}
		if d := editDistance(strings.ToLower(key), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	switch {
	case best != "" && distance < len(best):
		return `unknown field; did you mean "` + best + `"?`
	case len(all) == 0:
		return "unknown field; nothing can be set here"
	default:
		return "unknown field; there are " + strings.Join(all, ", ")
	}
}

// editDistance counts the insertions, deletions, changes and swaps of
// neighbours that turn a into b.
func editDistance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
