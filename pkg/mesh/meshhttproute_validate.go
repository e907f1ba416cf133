package mesh

import (
	"slices"
	"strings"
)

// Validate tells everything that is wrong with it.
func (s *MeshHTTPRoute) Validate() (v Violations) {
	r := &s.Spec
	v = append(v, r.TargetRef.validate("spec.targetRef", chosenOrGateway)...)
	if len(r.To) == 0 {
		v.Add("spec.to", `must have at least one item, as in "- targetRef: {kind: MeshService, name: api}"`)
	}
	for i := range r.To {
		to, at := &r.To[i], field("spec.to", i)
		v = append(v, to.TargetRef.needed(field(at, "targetRef"), routed(r.TargetRef))...)
		if len(to.Hostnames) > 0 && !isGateway(r.TargetRef) {
			v.Add(field(at, "hostnames"), "must be left out unless spec.targetRef is of kind MeshGateway")
		}
		for j, h := range to.Hostnames {
			v = append(v, validateHostname(field(at, "hostnames", j), h)...)
		}
		if len(to.Rules) == 0 {
			v.Add(field(at, "rules"), "must have at least one rule")
		}
		for j := range to.Rules {
			v = append(v, to.Rules[j].validate(field(at, "rules", j))...)
		}
	}
	return v
}

func isGateway(r *TargetRef) bool { return r != nil && r.Kind == RefGateway }

// routed are the kinds that a route of the proxies of top may be for.
func routed(top *TargetRef) []string {
	if isGateway(top) {
		return called
	}
	return services
}

func (r *MeshHTTPRouteRule) validate(path string) (v Violations) {
	prefix := len(r.Matches) > 0
	for i := range r.Matches {
		m, at := &r.Matches[i], field(path, "matches", i)
		v = append(v, m.Path.validate(field(at, "path"))...)
		v = append(v, oneOf(field(at, "method"), m.Method, httpMethods...)...)
		v = append(v, validateQueryMatches(field(at, "queryParams"), m.QueryParams)...)
		v = append(v, validateHeaderMatches(field(at, "headers"), m.Headers)...)
		prefix = prefix && m.Path != nil && m.Path.Type == pathPrefix
	}
	at := field(path, "default")
	if r.Default == nil {
		v.Add(at, mustSet)
		return v
	}
	for i := range r.Default.Filters {
		v = append(v, r.Default.Filters[i].validate(field(at, "filters", i), prefix)...)
	}
	return append(v, validateBackendRefs(field(at, "backendRefs"), r.Default.BackendRefs)...)
}

// validate checks a filter; prefix says that all matches are by a path's prefix.
func (f *HTTPRouteFilter) validate(path string, prefix bool) (v Violations) {
	v = append(v, oneByType(path, f.Type, []part{
		{"RequestHeaderModifier", "requestHeaderModifier", f.RequestHeaderModifier != nil, true},
		{"ResponseHeaderModifier", "responseHeaderModifier", f.ResponseHeaderModifier != nil, true},
		{"RequestRedirect", "requestRedirect", f.RequestRedirect != nil, true},
		{"URLRewrite", "urlRewrite", f.URLRewrite != nil, true},
		{"RequestMirror", "requestMirror", f.RequestMirror != nil, true},
	})...)
	v = append(v, f.RequestHeaderModifier.validate(field(path, "requestHeaderModifier"))...)
	v = append(v, f.ResponseHeaderModifier.validate(field(path, "responseHeaderModifier"))...)
	if r, at := f.RequestRedirect, field(path, "requestRedirect"); r != nil {
		v = append(v, oneOf(field(at, "scheme"), r.Scheme, "http", "https")...)
		v = append(v, validateHostname(field(at, "hostname"), r.Hostname)...)
		v = append(v, r.Path.validate(field(at, "path"), prefix)...)
		v = append(v, validateOptionalPort(field(at, "port"), r.Port)...)
		if r.StatusCode != 0 && !slices.Contains([]uint32{301, 302, 303, 307, 308}, r.StatusCode) {
			v.Add(field(at, "statusCode"), "must be one of 301, 302, 303, 307, 308")
		}
	}
	if r, at := f.URLRewrite, field(path, "urlRewrite"); r != nil {
		v = append(v, validateHostname(field(at, "hostname"), r.Hostname)...)
		if r.Hostname != "" && r.HostToBackendHostname {
			v.Add(field(at, "hostToBackendHostname"), "must be left out where there is a hostname")
		}
		v = append(v, r.Path.validate(field(at, "path"), prefix)...)
	}
	if r, at := f.RequestMirror, field(path, "requestMirror"); r != nil {
		v = append(v, validatePercentText(field(at, "percentage"), r.Percentage)...)
		if r.BackendRef == nil {
			v.Add(field(at, "backendRef"), "must be given: it is where the copies go")
		} else {
			v = append(v, r.BackendRef.validate(field(at, "backendRef"))...)
		}
	}
	return v
}

func (p *PathRewrite) validate(path string, prefix bool) (v Violations) {
	if p == nil {
		return nil
	}
	v = append(v, oneByType(path, p.Type, []part{
		{"ReplaceFullPath", "replaceFullPath", p.ReplaceFullPath != nil, true},
		{"ReplacePrefixMatch", "replacePrefixMatch", p.ReplacePrefixMatch != nil, true},
	})...)
	if p.Type == "ReplacePrefixMatch" && !prefix {
		v.Add(field(path, "type"), "ReplacePrefixMatch needs matches that are all of a path of type PathPrefix")
	}
	return v
}

// validateHostname accepts a DNS name that may begin with "*.", or "" as none.
func validateHostname(path, host string) (v Violations) {
	if host == "" || host == Any {
		return nil
	}
	if name := strings.TrimPrefix(host, "*."); len(name) > MaxName || !dnsName.MatchString(name) {
		v.Add(path, `%.80q is no DNS name, and none that begins with "*."`, host)
	}
	return v
}
