package mesh

// Validate tells everything that is wrong with it.
func (s *MeshGatewayRoute) Validate() (v Violations) {
	v = append(v, validateGatewaySelectors(s.Selectors)...)
	c := s.Conf
	if c == nil {
		v.Add("conf", "must be given, with tcp or http")
		return v
	}
	v = append(v, exactlyOne("conf", map[string]bool{"tcp": c.TCP != nil, "http": c.HTTP != nil})...)
	if c.TCP != nil {
		at := "conf.tcp.rules"
		if len(c.TCP.Rules) == 0 {
			v.Add(at, "must have at least one rule")
		}
		for i, r := range c.TCP.Rules {
			v = append(v, validateGatewayBackends(field(at, i, "backends"), r.Backends, true)...)
		}
	}
	if h := c.HTTP; h != nil {
		for i, name := range h.Hostnames {
			v = append(v, validateHostname(field("conf.http.hostnames", i), name)...)
		}
		if len(h.Rules) == 0 {
			v.Add("conf.http.rules", "must have at least one rule")
		}
		for i := range h.Rules {
			v = append(v, h.Rules[i].validate(field("conf.http.rules", i))...)
		}
	}
	return v
}

func validateGatewayBackends(path string, bs []GatewayBackend, needed bool) (v Violations) {
	if needed && len(bs) == 0 {
		v.Add(path, "must have at least one backend")
	}
	for i, b := range bs {
		v = append(v, validateTarget(field(path, i, "destination"), b.Destination)...)
	}
	return v
}

func (r *GatewayHTTPRule) validate(path string) (v Violations) {
	if len(r.Matches) == 0 {
		v.Add(field(path, "matches"), `must have at least one match, as in "path: {match: PREFIX, value: /}"`)
	}
	prefix := len(r.Matches) > 0
	for i := range r.Matches {
		m := &r.Matches[i]
		v = append(v, m.validate(field(path, "matches", i))...)
		prefix = prefix && m.Path != nil && m.Path.Match == "PREFIX"
	}
	redirects := false
	for i := range r.Filters {
		f, at := &r.Filters[i], field(path, "filters", i)
		v = append(v, f.validate(at, prefix)...)
		redirects = redirects || f.Redirect != nil
	}
	switch {
	case redirects && len(r.Filters) > 1:
		v.Add(field(path, "filters"), "must have no other filter beside redirect")
	case redirects && len(r.Backends) > 0:
		v.Add(field(path, "backends"), "must be left out where there is a redirect")
	}
	return append(v, validateGatewayBackends(field(path, "backends"), r.Backends, !redirects)...)
}

func (m *GatewayHTTPMatch) validate(path string) (v Violations) {
	if m.Path == nil && m.Method == "" && len(m.Headers) == 0 && len(m.QueryParameters) == 0 {
		v.Add(path, "must have at least one of path, method, headers and queryParameters")
	}
	if p, at := m.Path, field(path, "path"); p != nil {
		v = append(v, oneOf(field(at, "match"), p.Match, "EXACT", "PREFIX", "REGEX")...)
		if p.Match == "REGEX" {
			v = append(v, needRegex(field(at, "value"), p.Value)...)
		} else if p.Value == "" || p.Value[0] != '/' {
			v.Add(field(at, "value"), `must begin with "/", as every path does`)
		}
	}
	v = append(v, oneOf(field(path, "method"), m.Method, httpMethods...)...)
	for i, h := range m.Headers {
		at := field(path, "headers", i)
		v = append(v, oneOf(field(at, "match"), h.Match, "EXACT", "REGEX", "ABSENT", "PRESENT")...)
		v = append(v, validateHeaderName(field(at, "name"), h.Name)...)
		v = append(v, compared(field(at, "value"), h.Match, h.Value)...)
	}
	for i, q := range m.QueryParameters {
		at := field(path, "queryParameters", i)
		v = append(v, oneOf(field(at, "match"), q.Match, "EXACT", "REGEX")...)
		v = append(v, notEmpty(field(at, "name"), q.Name)...)
		v = append(v, compared(field(at, "value"), q.Match, q.Value)...)
	}
	return v
}

func compared(path, match, value string) (v Violations) {
	switch match {
	case "ABSENT", "PRESENT":
		if value != "" {
			v.Add(path, "must be left out for %s", match)
		}
		return v
	case "REGEX":
		return needRegex(path, value)
	}
	return append(notEmpty(path, value), validateHeaderValue(path, value)...)
}

func (f *GatewayHTTPFilter) validate(path string, prefix bool) (v Violations) {
	v = append(v, exactlyOne(path, map[string]bool{
		"requestHeader": f.RequestHeader != nil, "responseHeader": f.ResponseHeader != nil, "mirror": f.Mirror != nil,
		"redirect": f.Redirect != nil, "rewrite": f.Rewrite != nil,
	})...)
	v = append(v, f.RequestHeader.validate(field(path, "requestHeader"))...)
	v = append(v, f.ResponseHeader.validate(field(path, "responseHeader"))...)
	if m, at := f.Mirror, field(path, "mirror"); m != nil {
		v = append(v, validatePercentage(field(at, "percentage"), m.Percentage)...)
		if m.Backend == nil {
			v.Add(field(at, "backend"), "must be given: it is where the copies go")
		} else {
			v = append(v, validateTarget(field(at, "backend.destination"), m.Backend.Destination)...)
		}
	}
	if r, at := f.Redirect, field(path, "redirect"); r != nil {
		v = append(v, oneOf(field(at, "scheme"), r.Scheme, "http", "https")...)
		v = append(v, validateHostname(field(at, "hostname"), r.Hostname)...)
		v = append(v, validateOptionalPort(field(at, "port"), r.Port)...)
		if r.StatusCode < 300 || r.StatusCode > 308 {
			v.Add(field(at, "statusCode"), "must be from 300 to 308")
		}
		v = append(v, r.Path.validate(field(at, "path"), prefix)...)
	}
	return append(v, f.Rewrite.validate(field(path, "rewrite"), prefix)...)
}

func (r *GatewayRewrite) validate(path string, prefix bool) (v Violations) {
	if r == nil {
		return nil
	}
	if r.ReplaceFull != nil && r.ReplacePrefixMatch != nil {
		v.Add(path, "must have either replaceFull or replacePrefixMatch, not both")
	}
	if r.ReplaceFull == nil && r.ReplacePrefixMatch == nil && !r.HostToBackendHostname {
		v.Add(path, "must have at least one of replaceFull, replacePrefixMatch and hostToBackendHostname")
	}
	if r.ReplacePrefixMatch != nil && !prefix {
		v.Add(field(path, "replacePrefixMatch"), "needs matches that are all of a path with PREFIX")
	}
	return v
}
