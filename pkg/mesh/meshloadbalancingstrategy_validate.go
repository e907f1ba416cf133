package mesh

// Validate tells everything that is wrong with it.
func (s *MeshLoadBalancingStrategy) Validate() (v Violations) {
	to := []string{RefMesh, RefService, RefMultiZoneService, RefHTTPRoute}
	return s.Spec.validate(refs{top: chosenOrGateway, to: to}, func(path string, c *MeshLoadBalancingConf) (v Violations) {
		v = append(v, c.LocalityAwareness.validate(field(path, "localityAwareness"))...)
		v = append(v, c.LoadBalancer.validate(field(path, "loadBalancer"))...)
		return append(v, validateHashPolicies(field(path, "hashPolicies"), c.HashPolicies)...)
	})
}

func (l *LocalityAwareness) validate(path string) (v Violations) {
	if l == nil {
		return nil
	}
	if z := l.LocalZone; z != nil {
		weighted := 0
		for i, t := range z.AffinityTags {
			at := field(path, "localZone.affinityTags", i)
			if !tagKey.MatchString(t.Key) {
				v.Add(field(at, "key"), tagKeyRule)
			}
			v = append(v, aboveZero(field(at, "weight"), t.Weight)...)
			if t.Weight != nil {
				weighted++
			}
		}
		if weighted > 0 && weighted < len(z.AffinityTags) {
			v.Add(field(path, "localZone.affinityTags"), "must have a weight at all of them or at none")
		}
	}
	c, at := l.CrossZone, field(path, "crossZone")
	if c == nil {
		return v
	}
	for i, f := range c.Failover {
		at := field(at, "failover", i)
		if f.From != nil {
			if len(f.From.Zones) == 0 {
				v.Add(field(at, "from.zones"), "must have at least one zone; leave from out for all")
			}
			v = append(v, validateZones(field(at, "from.zones"), f.From.Zones)...)
		}
		if f.To == nil {
			v.Add(field(at, "to"), "must be given, as in {type: Any}")
			continue
		}
		v = append(v, listed(field(at, "to.type"), f.To.Type, []string{"None", "Only", "Any", "AnyExcept"})...)
		switch named := f.To.Type == "Only" || f.To.Type == "AnyExcept"; {
		case named && len(f.To.Zones) == 0:
			v.Add(field(at, "to.zones"), "must have at least one zone for %s", f.To.Type)
		case !named && len(f.To.Zones) > 0:
			v.Add(field(at, "to.zones"), "must be left out for %.40s", f.To.Type)
		}
		v = append(v, validateZones(field(at, "to.zones"), f.To.Zones)...)
	}
	if t, at := c.FailoverThreshold, field(at, "failoverThreshold.percentage"); t != nil {
		v = append(v, needPercentText(at, t.Percentage)...)
		if f, err := t.Percentage.Float(); err == nil && f == 0 {
			v.Add(at, "must be above 0")
		}
	}
	return v
}

func validateZones(path string, zones []string) (v Violations) {
	for i, z := range zones {
		v = append(v, notEmpty(field(path, i), z)...)
	}
	return v
}

func (b *Balancer) validate(path string) (v Violations) {
	if b == nil {
		return nil
	}
	v = append(v, oneByType(path, b.Type, []part{
		{"RoundRobin", "roundRobin", b.RoundRobin != nil, false},
		{"LeastRequest", "leastRequest", b.LeastRequest != nil, false},
		{"RingHash", "ringHash", b.RingHash != nil, false},
		{"Random", "random", b.Random != nil, false},
		{"Maglev", "maglev", b.Maglev != nil, false},
	})...)
	if l := b.LeastRequest; l != nil {
		if l.ChoiceCount != nil && *l.ChoiceCount < minChoices {
			v.Add(field(path, "leastRequest.choiceCount"), "must be at least %d; the type Random takes any endpoint", minChoices)
		}
		if f, err := l.ActiveRequestBias.Float(); l.ActiveRequestBias != "" && (err != nil || !(f >= 0)) {
			v.Add(field(path, "leastRequest.activeRequestBias"), `must be a number of 0 or more, as in "1.5"`)
		}
	}
	if r, at := b.RingHash, field(path, "ringHash"); r != nil {
		v = append(v, oneOf(field(at, "hashFunction"), r.HashFunction, "XXHash", "MurmurHash2")...)
		for _, n := range []struct {
			name string
			is   *uint32
		}{{"minRingSize", r.MinRingSize}, {"maxRingSize", r.MaxRingSize}} {
			if n.is != nil && (*n.is == 0 || *n.is > maxRingSize) {
				v.Add(field(at, n.name), "must be from 1 to %d", maxRingSize)
			}
		}
		if r.MinRingSize != nil && r.MaxRingSize != nil && *r.MinRingSize > *r.MaxRingSize {
			v.Add(field(at, "maxRingSize"), "must be at least minRingSize, %d", *r.MinRingSize)
		}
		v = append(v, validateHashPolicies(field(at, "hashPolicies"), r.HashPolicies)...)
	}
	if m, at := b.Maglev, field(path, "maglev"); m != nil {
		if n := m.TableSize; n != nil && (*n < 2 || *n > maxTableSize || !prime(*n)) {
			v.Add(field(at, "tableSize"), "must be a prime number of at most %d, as 65537 is", maxTableSize)
		}
		v = append(v, validateHashPolicies(field(at, "hashPolicies"), m.HashPolicies)...)
	}
	return v
}

// maxTableSize is Envoy's limit.
const maxTableSize = 5000011

func prime(n uint32) bool {
	for d := uint32(2); d*d <= n; d++ {
		if n%d == 0 {
			return false
		}
	}
	return n > 1
}

func validateHashPolicies(path string, hs []HashPolicy) (v Violations) {
	for i, h := range hs {
		at := field(path, i)
		v = append(v, oneByType(at, h.Type, []part{
			{"Header", "header", h.Header != nil, true},
			{"Cookie", "cookie", h.Cookie != nil, true},
			{"Connection", "connection", h.Connection != nil, false},
			{"SourceIP", "", false, false},
			{"QueryParameter", "queryParameter", h.QueryParameter != nil, true},
			{"FilterState", "filterState", h.FilterState != nil, true},
		})...)
		if h.Header != nil {
			v = append(v, validateHeaderName(field(at, "header.name"), h.Header.Name)...)
		}
		if c := h.Cookie; c != nil {
			v = append(v, notEmpty(field(at, "cookie.name"), c.Name)...)
			v = append(v, validateDuration(field(at, "cookie.ttl"), c.TTL)...)
			v = append(v, validateURLPath(field(at, "cookie.path"), c.Path)...)
		}
		if h.QueryParameter != nil {
			v = append(v, notEmpty(field(at, "queryParameter.name"), h.QueryParameter.Name)...)
		}
		if h.FilterState != nil {
			v = append(v, notEmpty(field(at, "filterState.key"), h.FilterState.Key)...)
		}
	}
	return v
}
