package mesh

import "cmp"

// A Selector picks what carries all of its tags; the value "*" wants the tag
// to be there, whatever its value.
type Selector struct {
	Match Tags `json:"match,omitempty"`
}

// Matches tells whether t carries all of the selector's tags.
func (s Selector) Matches(t Tags) bool {
	for k, want := range s.Match {
		if got, ok := t[k]; !ok || (want != Any && want != got) {
			return false
		}
	}
	return true
}

// A Rank says how narrowly a selector picks.
type Rank struct {
	Exact    int // tags with a value
	Wildcard int // tags with "*"
}

// Rank counts the selector's tags.
func (s Selector) Rank() Rank {
	var r Rank
	for _, v := range s.Match {
		if v == Any {
			r.Wildcard++
		} else {
			r.Exact++
		}
	}
	return r
}

// Plus returns the rank of two selectors taken together.
func (r Rank) Plus(o Rank) Rank {
	return Rank{Exact: r.Exact + o.Exact, Wildcard: r.Wildcard + o.Wildcard}
}

// Compare returns a positive number where r is narrower than o: it has more
// tags, or as many and more of them exact.
func (r Rank) Compare(o Rank) int {
	return cmp.Or(
		cmp.Compare(r.Exact+r.Wildcard, o.Exact+o.Wildcard),
		cmp.Compare(r.Exact, o.Exact),
	)
}

// validateSelectors wants at least one selector with at least one tag each.
func validateSelectors(path string, ss []Selector) (v Violations) {
	if len(ss) == 0 {
		v.Add(path, `must have at least one selector, as in "- match: {kuma.io/service: '*'}"`)
	}
	for i, s := range ss {
		match := field(path, i, "match")
		if len(s.Match) == 0 {
			v.Add(match, `must have at least one tag, as in "kuma.io/service: '*'"`)
		}
		for _, k := range sortedKeys(s.Match) {
			at, val := keyed(match, k), s.Match[k]
			switch {
			case k == "":
				v.Add(at, "tag key must not be empty")
			case !tagKey.MatchString(k):
				v.Add(at, tagKeyRule)
			}
			switch {
			case val == "":
				v.Add(at, `value must not be empty; "*" means any`)
			case !selectorValue.MatchString(val):
				v.Add(at, selectorValueRule)
			}
		}
	}
	return v
}

// validateEnds checks the selectors of policies for calls of one service to
// another: sources name the caller's service, and may ask for more; of the
// destination only the service is known where it is called.
func validateEnds(sources, destinations []Selector) (v Violations) {
	v = append(v, validateSelectors("sources", sources)...)
	for i, s := range sources {
		if _, ok := s.Match[ServiceTag]; !ok && len(s.Match) > 0 {
			v.Add(keyed(field("sources", i, "match"), ServiceTag), `tag has to exist; "*" means any service`)
		}
	}
	v = append(v, validateSelectors("destinations", destinations)...)
	for i, d := range destinations {
		if _, ok := d.Match[ServiceTag]; len(d.Match) > 0 && (!ok || len(d.Match) > 1) {
			v.Add(field("destinations", i, "match"), "must have the tag %s and no other", ServiceTag)
		}
	}
	return v
}
