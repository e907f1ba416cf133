package mesh

// A HeaderModifier changes the headers of a request or of an answer.
type HeaderModifier struct {
	Set    []HeaderValue `json:"set,omitempty"` // in place of what was there
	Add    []HeaderValue `json:"add,omitempty"`
	Remove []string      `json:"remove,omitempty"`
}

// A HeaderValue is one header.
type HeaderValue struct {
	Name  string `json:"name,omitempty"`
	Value string `json:"value,omitempty"`
}

const maxHeaders = 16

func (m *HeaderModifier) validate(path string) (v Violations) {
	if m == nil {
		return nil
	}
	if len(m.Set) == 0 && len(m.Add) == 0 && len(m.Remove) == 0 {
		v.Add(path, "must have at least one of set, add and remove")
	}
	for _, part := range []struct {
		name string
		of   []HeaderValue
	}{{"set", m.Set}, {"add", m.Add}} {
		at, seen := field(path, part.name), map[string]bool{}
		if len(part.of) > maxHeaders {
			v.Add(at, "must have at most %d headers, has %d", maxHeaders, len(part.of))
		}
		for i, h := range part.of {
			v = append(v, validateHeaderName(field(at, i, "name"), h.Name)...)
			v = append(v, validateHeaderValue(field(at, i, "value"), h.Value)...)
			if h.Name != "" && seen[h.Name] {
				v.Add(field(at, i, "name"), "%q is given twice; keep one", h.Name)
			}
			seen[h.Name] = true
		}
	}
	for i, name := range m.Remove {
		v = append(v, validateHeaderName(field(path, "remove", i), name)...)
	}
	return v
}
