package mesh

import "slices"

// refs are the kinds that the references of a policy may have.
type refs struct {
	top, to, from []string
}

// Sets of kinds that many policies share.
var (
	chosen          = []string{RefMesh, RefMeshSubset, RefDataplane, RefService, RefServiceSubset}
	chosenOrGateway = append(append([]string{}, chosen...), RefGateway)
	chosenOrRoute   = append(append([]string{}, chosenOrGateway...), RefHTTPRoute)
	ownProxies      = []string{RefMesh, RefMeshSubset, RefDataplane}
	services        = []string{RefService, RefExternalService, RefMultiZoneService}
	called          = append([]string{RefMesh}, services...)
	calledOrRoute   = append(append([]string{}, called...), RefHTTPRoute)
	wholeMesh       = []string{RefMesh}
)

// A checking tells what is wrong with what a policy sets, at path.
type checking[C any] func(path string, c *C) Violations

const mustSet = "must be given: it is what the policy sets"

func (w *Whole[C]) validate(r refs, conf checking[C]) (v Violations) {
	v = append(v, w.TargetRef.validate("spec.targetRef", r.top)...)
	if w.Default == nil {
		v.Add("spec.default", mustSet)
		return v
	}
	return append(v, conf("spec.default", w.Default)...)
}

func (o *Outward[C]) validate(r refs, conf checking[C]) (v Violations) {
	v = append(v, o.TargetRef.validate("spec.targetRef", r.top)...)
	if len(o.To) == 0 {
		v.Add("spec.to", `must have at least one item, as in "- targetRef: {kind: Mesh}"`)
	}
	return append(v, validateTargeted("spec.to", o.To, r.to, conf)...)
}

func (n *Inward[C]) validate(r refs, conf checking[C]) (v Violations) {
	both := BothWays[C]{TargetRef: n.TargetRef, From: n.From, Rules: n.Rules}
	return both.validate(r, conf)
}

func (b *BothWays[C]) validate(r refs, conf checking[C]) (v Violations) {
	v = append(v, b.TargetRef.validate("spec.targetRef", r.top)...)
	v = append(v, validateSections(len(b.To), len(b.From), len(b.Rules), len(r.to) > 0)...)
	v = append(v, validateTargeted("spec.to", b.To, r.to, conf)...)
	v = append(v, validateTargeted("spec.from", b.From, r.from, conf)...)
	return append(v, validateRuled("spec.rules", b.Rules, conf)...)
}

// toGateways wants a policy whose "to" gateways alone follow to choose some.
func (b *BothWays[C]) toGateways() (v Violations) {
	r := b.TargetRef
	chosen := r != nil && (r.Kind == RefGateway || r.Kind == RefHTTPRoute || slices.Equal(r.ProxyTypes, []string{refProxy}))
	if len(b.To) > 0 && !chosen {
		v.Add("spec.to", "is for gateways alone: let spec.targetRef be of kind MeshGateway, or have proxyTypes: [Gateway]; from and rules are for other proxies")
	}
	return v
}

// validateSections wants something in a policy, and rules by themselves.
func validateSections(to, from, rules int, outward bool) (v Violations) {
	switch all := "from and rules"; {
	case to+from+rules == 0:
		if outward {
			all = "to, from and rules"
		}
		v.Add("spec", "must have at least one of %s", all)
	case rules > 0 && to+from > 0:
		v.Add("spec", "must have no to and no from beside rules; make a policy of its own of them")
	}
	return v
}

func validateTargeted[C any](path string, items []Targeted[C], allowed []string, conf checking[C]) (v Violations) {
	for i := range items {
		at := field(path, i)
		v = append(v, items[i].TargetRef.needed(field(at, "targetRef"), allowed)...)
		if items[i].Default == nil {
			v.Add(field(at, "default"), mustSet)
			continue
		}
		v = append(v, conf(field(at, "default"), items[i].Default)...)
	}
	return v
}

func validateRuled[C any](path string, rules []Ruled[C], conf checking[C]) (v Violations) {
	for i := range rules {
		at := field(path, i)
		for j := range rules[i].Matches {
			v = append(v, rules[i].Matches[j].validate(field(at, "matches", j))...)
		}
		if rules[i].Default == nil {
			v.Add(field(at, "default"), mustSet)
			continue
		}
		v = append(v, conf(field(at, "default"), rules[i].Default)...)
	}
	return v
}

func (m *ClientMatch) validate(path string) (v Violations) {
	if m.SpiffeID == nil && m.SNI == nil {
		v.Add(path, "must have spiffeID or sni")
	}
	v = append(v, m.SpiffeID.validate(field(path, "spiffeID"), "Exact", "Prefix")...)
	if m.SpiffeID != nil && m.SpiffeID.Value != "" && !isSpiffeID(m.SpiffeID.Value) {
		v.Add(field(path, "spiffeID.value"), `must begin with "spiffe://" and a trust domain, as in "spiffe://default/web"`)
	}
	return append(v, m.SNI.validate(field(path, "sni"), "Exact")...)
}

func (m *TextMatch) validate(path string, types ...string) (v Violations) {
	if m == nil {
		return nil
	}
	v = append(v, listed(field(path, "type"), m.Type, types)...)
	return append(v, notEmpty(field(path, "value"), m.Value)...)
}
