package audit

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// Bounds of a diff.
const (
	maxLines = 100
	maxValue = 120 // bytes of one value
)

// diff tells field by field how a resource differs; either may be nil. Secrets
// are told by the first bytes of their SHA-256.
func diff(was, is *mesh.Resource) []string {
	a, b := fields(was), fields(is)
	var lines []string
	for _, path := range slices.Sorted(maps.Keys(union(a, b))) {
		before, had := a[path]
		after, has := b[path]
		if had && has && before == after {
			continue
		}
		line := path + ": "
		switch {
		case !had:
			line += "-> " + after
		case !has:
			line += before + " ->"
		default:
			line += before + " -> " + after
		}
		if len(lines) == maxLines {
			return append(lines, "and more")
		}
		lines = append(lines, line)
	}
	return lines
}

func union(a, b map[string]string) map[string]bool {
	all := map[string]bool{}
	for k := range a {
		all[k] = true
	}
	for k := range b {
		all[k] = true
	}
	return all
}

// fields flattens what a resource says, labels included.
func fields(r *mesh.Resource) map[string]string {
	out := map[string]string{}
	if r == nil {
		return out
	}
	if s, ok := r.Spec.(*mesh.Secret); ok {
		out["data"] = fmt.Sprintf("%d bytes, %s", len(s.Data), hash(s.Data))
	} else if data, err := json.Marshal(r.Spec); err == nil {
		var v any
		if json.Unmarshal(data, &v) == nil {
			flatten(out, "", v)
		}
	}
	for k, v := range r.Meta.Labels {
		out["labels["+strconv.Quote(k)+"]"] = shorten(strconv.Quote(v))
	}
	return out
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return fmt.Sprintf("sha256:%x…", sum[:6])
}

// inline are the fields in which bytes stand that may be a key.
var inline = []string{".inline", ".inlineString"}

func flatten(out map[string]string, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 && path != "" {
			out[path] = "{}"
		}
		for k, e := range v {
			key := k
			if strings.ContainsAny(k, "./[] ") {
				key = "[" + strconv.Quote(k) + "]"
			} else if path != "" {
				key = "." + k
			}
			flatten(out, path+key, e)
		}
	case []any:
		if len(v) == 0 {
			out[path] = "[]"
		}
		for i, e := range v {
			flatten(out, path+"["+strconv.Itoa(i)+"]", e)
		}
	default:
		text, err := json.Marshal(v)
		if err != nil {
			return
		}
		if slices.ContainsFunc(inline, func(s string) bool { return strings.HasSuffix(path, s) }) {
			out[path] = hash(text)
			return
		}
		out[path] = shorten(string(text))
	}
}

func shorten(text string) string {
	if len(text) <= maxValue {
		return text
	}
	return text[:maxValue] + "… " + hash([]byte(text))
}
