package mesh

import "strings"

// A part is one field of an object whose "type" names it.
type part struct {
	typ, name string
	given     bool
	needed    bool // by its type
}

// oneByType wants the field that typ names, where that needs one, and no other.
func oneByType(path, typ string, parts []part) (v Violations) {
	var types []string
	for _, p := range parts {
		types = append(types, p.typ)
	}
	if typ == "" {
		v.Add(field(path, "type"), "must be given: one of %s", strings.Join(types, ", "))
		return v
	}
	v = append(v, oneOf(field(path, "type"), typ, types...)...)
	for _, p := range parts {
		switch {
		case p.typ == typ && p.needed && !p.given:
			v.Add(field(path, p.name), "must be given for the type %s", typ)
		case p.typ != typ && p.given:
			v.Add(field(path, p.name), "must be left out for the type %.40s", typ)
		}
	}
	return v
}
