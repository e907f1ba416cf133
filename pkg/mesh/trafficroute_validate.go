package mesh

import (
	"math"
	"strings"
)

// Limits of Envoy's balancers.
const (
	minChoices  = 2
	maxRingSize = 8 << 20
)

// Validate tells everything that is wrong with it.
func (s *TrafficRoute) Validate() (v Violations) {
	v = append(v, validateEnds(s.Sources, s.Destinations)...)
	c := s.Conf
	if c == nil {
		v.Add("conf", `must be given; "destination: {kuma.io/service: '*'}" leads to the service that was called`)
		return v
	}
	v = append(v, c.LoadBalancer.validate("conf.loadBalancer")...)
	v = append(v, validateTargets("conf", c.Split, c.Destination)...)
	for i := range c.HTTP {
		v = append(v, c.HTTP[i].validate(field("conf.http", i))...)
	}
	return v
}

func (l *LoadBalancer) validate(path string) (v Violations) {
	if l == nil {
		return nil
	}
	v = append(v, exactlyOne(path, map[string]bool{
		"roundRobin": l.RoundRobin != nil, "leastRequest": l.LeastRequest != nil, "ringHash": l.RingHash != nil,
		"random": l.Random != nil, "maglev": l.Maglev != nil,
	})...)
	if r := l.LeastRequest; r != nil && r.ChoiceCount != 0 && r.ChoiceCount < minChoices {
		v.Add(field(path, "leastRequest.choiceCount"), "must be at least %d; \"random: {}\" takes any endpoint", minChoices)
	}
	if r := l.RingHash; r != nil {
		at := field(path, "ringHash")
		v = append(v, oneOf(field(at, "hashFunction"), r.HashFunction, "XX_HASH", "MURMUR_HASH_2")...)
		if r.MinRingSize > maxRingSize {
			v.Add(field(at, "minRingSize"), "must be at most %d", maxRingSize)
		}
		switch {
		case r.MaxRingSize > maxRingSize:
			v.Add(field(at, "maxRingSize"), "must be at most %d", maxRingSize)
		case r.MaxRingSize != 0 && r.MaxRingSize < max(r.MinRingSize, 1):
			v.Add(field(at, "maxRingSize"), "must be at least minRingSize, %d", r.MinRingSize)
		case r.MaxRingSize != 0 && r.MinRingSize == 0 && r.MaxRingSize < defaultMinRingSize:
			v.Add(field(at, "maxRingSize"), "is less than minRingSize is by default, %d; set that too", defaultMinRingSize)
		}
	}
	return v
}

// defaultMinRingSize is Envoy's.
const defaultMinRingSize = 1024

// validateTargets wants either a split or one destination.
func validateTargets(path string, split []RouteSplit, destination Tags) (v Violations) {
	switch {
	case len(split) > 0 && len(destination) > 0:
		v.Add(path, `must have either "split" or "destination", not both`)
	case len(split) == 0 && len(destination) == 0:
		v.Add(path, `must have "split" or "destination", as in "destination: {kuma.io/service: '*'}"`)
	}
	if len(destination) > 0 {
		v = append(v, validateTarget(field(path, "destination"), destination)...)
	}
	var sum uint64
	for i, s := range split {
		sum += uint64(s.Weight)
		v = append(v, validateTarget(field(path, "split", i, "destination"), s.Destination)...)
	}
	switch at := field(path, "split"); {
	case len(split) > 0 && sum == 0:
		v.Add(at, "must have a weight above 0")
	case sum > math.MaxUint32:
		v.Add(at, "must have weights that add up to at most %d", uint32(math.MaxUint32))
	}
	return v
}

// validateTarget checks the tags of a destination; a value may be "*".
func validateTarget(path string, tags Tags) (v Violations) {
	if tags.Service() == "" {
		v.Add(keyed(path, ServiceTag), `tag has to exist: it says which service is meant; "*" is the one that was called`)
	}
	for _, k := range sortedKeys(tags) {
		at, val := keyed(path, k), tags[k]
		switch {
		case k == "":
			v.Add(at, "tag key must not be empty")
		case !tagKey.MatchString(k):
			v.Add(at, tagKeyRule)
		}
		switch {
		case val == "" && k != ServiceTag:
			v.Add(at, "tag value must not be empty")
		case val != "" && val != Any && !tagValue.MatchString(val):
			v.Add(at, tagValueRule)
		}
	}
	return v
}

func (h *HTTPRoute) validate(path string) (v Violations) {
	v = append(v, h.Match.validate(field(path, "match"))...)
	v = append(v, h.Modify.validate(field(path, "modify"), h.Match)...)
	return append(v, validateTargets(path, h.Split, h.Destination)...)
}

func (m *HTTPMatch) validate(path string) (v Violations) {
	if m == nil || m.Method == nil && m.Path == nil && len(m.Headers) == 0 {
		v.Add(path, `must have "method", "path" or "headers"; what holds for every request is conf.split or conf.destination`)
		return v
	}
	v = append(v, m.Method.validate(field(path, "method"))...)
	v = append(v, m.Path.validate(field(path, "path"))...)
	if p := m.Path; p != nil {
		for _, f := range []struct{ name, value string }{{"prefix", p.Prefix}, {"exact", p.Exact}} {
			if f.value != "" && !strings.HasPrefix(f.value, "/") {
				v.Add(field(path, "path", f.name), `must begin with "/", as every path does`)
			}
			if strings.ContainsAny(f.value, "?#") {
				v.Add(field(path, "path", f.name), `must be a path without "?" and "#": the query is not looked at`)
			}
		}
	}
	for _, name := range sortedKeys(m.Headers) {
		at := keyed(field(path, "headers"), name)
		v = append(v, validateHeaderName(at, name)...)
		h := m.Headers[name]
		v = append(v, h.validate(at)...)
	}
	return v
}

func (m *StringMatcher) validate(path string) (v Violations) {
	if m == nil {
		return nil
	}
	v = append(v, exactlyOne(path, map[string]bool{"prefix": m.Prefix != "", "exact": m.Exact != "", "regex": m.Regex != ""})...)
	return append(v, validateRegex(field(path, "regex"), m.Regex)...)
}

func (m *HTTPModify) validate(path string, match *HTTPMatch) (v Violations) {
	if m == nil {
		return nil
	}
	if p, at := m.Path, field(path, "path"); p != nil {
		v = append(v, exactlyOne(at, map[string]bool{"rewritePrefix": p.RewritePrefix != "", "regex": p.Regex != nil})...)
		if p.RewritePrefix != "" && (match == nil || match.Path == nil || match.Path.Prefix == "") {
			v.Add(field(at, "rewritePrefix"), "takes the place of a prefix: match.path.prefix must be given")
		}
		v = append(v, validateHeaderValue(field(at, "rewritePrefix"), p.RewritePrefix)...)
		v = append(v, p.Regex.validate(field(at, "regex"))...)
	}
	if h, at := m.Host, field(path, "host"); h != nil {
		v = append(v, exactlyOne(at, map[string]bool{"value": h.Value != "", "fromPath": h.FromPath != nil})...)
		v = append(v, validateHeaderValue(field(at, "value"), h.Value)...)
		v = append(v, h.FromPath.validate(field(at, "fromPath"))...)
	}
	v = append(v, m.RequestHeaders.validate(field(path, "requestHeaders"))...)
	return append(v, m.ResponseHeaders.validate(field(path, "responseHeaders"))...)
}

func (r *RegexReplace) validate(path string) (v Violations) {
	if r == nil {
		return nil
	}
	if r.Pattern == "" {
		v.Add(field(path, "pattern"), "must not be empty")
	}
	v = append(v, validateRegex(field(path, "pattern"), r.Pattern)...)
	v = append(v, validateHeaderValue(field(path, "substitution"), r.Substitution)...)
	return append(v, validateSubstitution(field(path, "substitution"), r.Pattern, r.Substitution)...)
}

func (h *HeadersModify) validate(path string) (v Violations) {
	if h == nil {
		return nil
	}
	for i, a := range h.Add {
		at := field(path, "add", i)
		v = append(v, validateChangedHeader(field(at, "name"), a.Name)...)
		v = append(v, validateHeaderValue(field(at, "value"), a.Value)...)
	}
	for i, r := range h.Remove {
		v = append(v, validateChangedHeader(field(path, "remove", i, "name"), r.Name)...)
	}
	return v
}

// validateChangedHeader refuses those by which a request is led.
func validateChangedHeader(path, name string) (v Violations) {
	switch {
	case strings.EqualFold(name, "host"):
		v.Add(path, "host is changed by modify.host")
	case strings.HasPrefix(name, ":"):
		v.Add(path, `must not begin with ":": pseudo headers are changed by modify.path and modify.host`)
	default:
		v = append(v, validateHeaderName(path, name)...)
	}
	return v
}
