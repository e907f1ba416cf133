package mesh

import (
	"cmp"
	"strings"
)

// Validate tells everything that is wrong with it.
func (s *Dataplane) Validate() (v Violations) {
	n := &s.Networking
	v = append(v, validateHost("networking.address", n.Address)...)
	if n.AdvertisedAddress != "" {
		v = append(v, validateHost("networking.advertisedAddress", n.AdvertisedAddress)...)
	}
	v = append(v, s.validateShape()...)
	if n.Gateway != nil {
		v = append(v, n.Gateway.validate("networking.gateway")...)
	}
	names := map[string]int{} // of inbounds, to the first that has it
	for i := range n.Inbound {
		v = append(v, s.validateInbound(i, names)...)
	}
	for i := range n.Outbound {
		v = append(v, n.Outbound[i].validate(field("networking.outbound", i))...)
	}
	v = append(v, n.TransparentProxying.validate()...)
	if n.Admin != nil {
		v = append(v, s.validateOwnPort("networking.admin.port", n.Admin.Port)...)
	}
	v = append(v, s.validateListeners()...)
	v = append(v, s.validateMetrics()...)
	return append(v, s.validateProbes()...)
}

// validateShape says which parts go together.
func (s *Dataplane) validateShape() (v Violations) {
	n := &s.Networking
	if n.Gateway == nil {
		if len(n.Inbound) == 0 && len(n.Listeners) == 0 {
			v.Add("networking.inbound", "must have at least one inbound, unless networking.gateway is set")
		}
		return v
	}
	forbid := func(path string, is bool) {
		if is {
			v.Add(path, "a %s gateway must have none", cmp.Or(n.Gateway.Type, Delegated))
		}
	}
	forbid("networking.inbound", len(n.Inbound) > 0)
	if n.Gateway.Type == Builtin {
		forbid("networking.outbound", len(n.Outbound) > 0)
		forbid("probes", s.Probes != nil)
	}
	forbid("networking.listeners", len(n.Listeners) > 0)
	return v
}

func (g *Gateway) validate(path string) (v Violations) {
	v = append(v, oneOf(field(path, "type"), g.Type, Delegated, Builtin)...)
	tags := field(path, "tags")
	v = append(v, validateTags(tags, g.Tags, len(g.Tags) > 0)...)
	if p, ok := g.Tags[ProtocolTag]; ok && !strings.EqualFold(p, "tcp") {
		v.Add(keyed(tags, ProtocolTag), `a gateway's protocol can only be "tcp"; leave the tag out`)
	}
	return v
}

func (s *Dataplane) validateInbound(i int, names map[string]int) (v Violations) {
	in, path := &s.Networking.Inbound[i], field("networking.inbound", i)
	if first, taken := names[in.Name]; taken {
		v.Add(field(path, "name"), "%q is the name of %s already", in.Name, field("networking.inbound", first))
	} else if in.Name != "" {
		names[in.Name] = i
	}
	v = append(v, validatePort(field(path, "port"), in.Port)...)
	v = append(v, validateIP(field(path, "address"), in.Address)...)
	v = append(v, validateOptionalPort(field(path, "servicePort"), in.ServicePort)...)
	v = append(v, validateIP(field(path, "serviceAddress"), in.ServiceAddress)...)
	if in.ServiceAddress != "" && in.ServiceAddress == s.InboundAddress(i) && s.ServicePort(i) == in.Port {
		v.Add(field(path, "serviceAddress"), "is where the proxy itself listens: give the workload another servicePort, or another address such as 127.0.0.1")
	}
	v = append(v, oneOf(field(path, "protocol"), strings.ToLower(in.Protocol), protocols...)...)
	// Until there are MeshServices, what has no service tag can be called by
	// nobody.
	v = append(v, validateTags(field(path, "tags"), in.Tags, true)...)
	v = append(v, oneOf(field(path, "state"), in.State, StateReady, StateNotReady, StateIgnored)...)
	if p := in.ServiceProbe; p != nil {
		v = append(v, validateDuration(field(path, "serviceProbe.interval"), p.Interval)...)
		v = append(v, validateDuration(field(path, "serviceProbe.timeout"), p.Timeout)...)
	}
	return v
}

func (o *Outbound) validate(path string) (v Violations) {
	v = append(v, validatePort(field(path, "port"), o.Port)...)
	v = append(v, validateIP(field(path, "address"), o.Address)...)
	if o.BackendRef == nil {
		return append(v, validateTags(field(path, "tags"), o.Tags, true)...)
	}
	if len(o.Tags) > 0 {
		v.Add(field(path, "tags"), "must be left out where there is a backendRef")
	}
	v = append(v, o.BackendRef.validate(field(path, "backendRef"))...)
	if o.BackendRef.Kind != RefExternalService || o.BackendRef.Port != 0 {
		v = append(v, validatePort(field(path, "backendRef.port"), o.BackendRef.Port)...)
	}
	return v
}

func (r *OutboundRef) validate(path string) (v Violations) {
	v = append(v, listed(field(path, "kind"), r.Kind, []string{RefService, RefMultiZoneService, RefExternalService})...)
	if (r.Name == "") == (len(r.Labels) == 0) {
		v.Add(field(path, "name"), "must be given, or labels in its place")
	}
	return append(v, validateMatchLabels(field(path, "labels"), r.Labels)...)
}

func (t *TransparentProxying) validate() (v Violations) {
	if t == nil {
		return nil
	}
	// The path misses a "y": that is how it always was, and people's tests
	// compare it.
	const path = "networking.transparentProxing"
	v = append(v, validateOptionalPort(field(path, "redirectPortInbound"), t.RedirectPortInbound)...)
	v = append(v, validateOptionalPort(field(path, "redirectPortOutbound"), t.RedirectPortOutbound)...)
	if b := t.ReachableBackends; b != nil {
		for i := range b.Refs {
			at := field(path, "reachableBackends.refs", i)
			v = append(v, b.Refs[i].validate(at)...)
			v = append(v, validateOptionalPort(field(at, "port"), b.Refs[i].Port)...)
		}
	}
	return append(v, oneOf(field(path, "ipFamilyMode"), t.IPFamilyMode, "UnSpecified", "DualStack", "IPv4", "IPv6")...)
}

// validateOwnPort wants a port that no inbound and no outbound has.
func (s *Dataplane) validateOwnPort(path string, port uint32) (v Violations) {
	v = append(v, validateOptionalPort(path, port)...)
	if port == 0 {
		return v
	}
	for i := range s.Networking.Inbound {
		if s.Networking.Inbound[i].Port == port {
			v.Add(path, "%d is the port of %s already", port, field("networking.inbound", i))
		}
	}
	for i := range s.Networking.Outbound {
		if s.Networking.Outbound[i].Port == port {
			v.Add(path, "%d is the port of %s already", port, field("networking.outbound", i))
		}
	}
	return v
}

func (s *Dataplane) validateListeners() (v Violations) {
	type place struct {
		address string
		port    uint32
	}
	names, places := map[string]string{}, map[place]string{}
	for i := range s.Networking.Inbound {
		at := field("networking.inbound", i)
		names[s.InboundName(i)] = at
		places[place{s.InboundAddress(i), s.Networking.Inbound[i].Port}] = at
	}
	for i := range s.Networking.Listeners {
		l, path := &s.Networking.Listeners[i], field("networking.listeners", i)
		if l.Type == "" {
			v.Add(field(path, "type"), "must be ZoneIngress or ZoneEgress")
		}
		v = append(v, oneOf(field(path, "type"), l.Type, "ZoneIngress", "ZoneEgress")...)
		if l.Address == "" {
			v.Add(field(path, "address"), "address must not be empty")
		}
		v = append(v, validateIP(field(path, "address"), l.Address)...)
		v = append(v, validatePort(field(path, "port"), l.Port)...)
		v = append(v, oneOf(field(path, "state"), l.State, StateReady, StateNotReady)...)
		if other, ok := names[l.Name]; ok && l.Name != "" {
			v.Add(field(path, "name"), "%q is the name of %s already", l.Name, other)
		}
		p := place{l.Address, l.Port}
		if other, ok := places[p]; ok {
			v.Add(field(path, "port"), "%s listens on %s, port %d already", other, l.Address, l.Port)
		}
		names[l.Name], places[p] = path, path
	}
	return v
}

func (s *Dataplane) validateMetrics() (v Violations) {
	m := s.Metrics
	if m == nil {
		return nil
	}
	v = append(v, m.validate("metrics")...)
	if m.Conf != nil && m.Conf.Port <= 65535 {
		v = append(v, s.validateOwnPort("metrics.conf.port", m.Conf.Port)...)
	}
	return v
}

func (s *Dataplane) validateProbes() (v Violations) {
	p := s.Probes
	if p == nil {
		return nil
	}
	v = append(v, validatePort("probes.port", p.Port)...)
	if p.Port <= 65535 {
		v = append(v, s.validateOwnPort("probes.port", p.Port)...)
	}
	for i, e := range p.Endpoints {
		path := field("probes.endpoints", i)
		v = append(v, validatePort(field(path, "inboundPort"), e.InboundPort)...)
		v = append(v, validateProbePath(field(path, "inboundPath"), e.InboundPath)...)
		v = append(v, validateProbePath(field(path, "path"), e.Path)...)
		if strings.Contains(e.Path, "?") {
			v.Add(field(path, "path"), "must not have a query: what is asked for is a path alone")
		}
	}
	return v
}

func validateProbePath(path, s string) (v Violations) {
	if s == "" {
		v.Add(path, `must begin with "/"`)
	}
	return append(v, validateURLPath(path, s)...)
}
