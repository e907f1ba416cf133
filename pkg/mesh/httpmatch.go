package mesh

import "strings"

// How a match compares.
const (
	matchExact   = "Exact"
	matchPrefix  = "Prefix"
	matchRegex   = "RegularExpression"
	matchPresent = "Present"
	matchAbsent  = "Absent"
	pathPrefix   = "PathPrefix"
)

func validateHeaderMatches(path string, headers []HTTPHeaderMatch) (v Violations) {
	for i, h := range headers {
		at := field(path, i)
		v = append(v, oneOf(field(at, "type"), h.Type, matchExact, matchPrefix, matchRegex, matchPresent, matchAbsent)...)
		v = append(v, validateHeaderName(field(at, "name"), h.Name)...)
		if h.Name != strings.ToLower(h.Name) {
			v.Add(field(at, "name"), "must be in lower case, as headers have no case: %q", strings.ToLower(h.Name))
		}
		switch h.Type {
		case matchPresent, matchAbsent:
			if h.Value != "" {
				v.Add(field(at, "value"), "must be left out for %s", h.Type)
			}
		case matchRegex:
			v = append(v, needRegex(field(at, "value"), h.Value)...)
		default:
			v = append(v, notEmpty(field(at, "value"), h.Value)...)
			v = append(v, validateHeaderValue(field(at, "value"), h.Value)...)
		}
	}
	return v
}

func (p *HTTPPathMatch) validate(path string) (v Violations) {
	if p == nil {
		return nil
	}
	v = append(v, listed(field(path, "type"), p.Type, []string{matchExact, pathPrefix, matchRegex})...)
	switch at := field(path, "value"); {
	case p.Type == matchRegex:
		v = append(v, needRegex(at, p.Value)...)
	case !strings.HasPrefix(p.Value, "/"):
		v.Add(at, `must begin with "/", as every path does`)
	case strings.ContainsAny(p.Value, "?#"):
		v.Add(at, `must be a path without "?" and "#"; queryParams compare the query`)
	case p.Type == pathPrefix && p.Value != "/" && strings.HasSuffix(p.Value, "/"):
		v.Add(at, `must not end in "/": %q is a prefix of what is below it anyway`, strings.TrimRight(p.Value, "/"))
	}
	return v
}

func validateQueryMatches(path string, params []HTTPQueryMatch) (v Violations) {
	seen := map[string]bool{}
	for i, q := range params {
		at := field(path, i)
		v = append(v, oneOf(field(at, "type"), q.Type, matchExact, matchRegex)...)
		v = append(v, notEmpty(field(at, "name"), q.Name)...)
		if q.Name != "" && seen[q.Name] {
			v.Add(field(at, "name"), "%q is given twice; keep one", q.Name)
		}
		seen[q.Name] = true
		if q.Type == matchRegex {
			v = append(v, needRegex(field(at, "value"), q.Value)...)
		} else {
			v = append(v, notEmpty(field(at, "value"), q.Value)...)
		}
	}
	return v
}

func needRegex(path, pattern string) Violations {
	return append(notEmpty(path, pattern), validateRegex(path, pattern)...)
}
