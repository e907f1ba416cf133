package policy

import "github.com/weft-mesh/weft/pkg/mesh"

// anybody is what a policy without selectors means.
var anybody = []mesh.Selector{{}}

// ProxyTemplates finds those for a dataplane that has any of these sets of
// tags. The winner alone changes what its proxy is told.
func ProxyTemplates(policies []*mesh.Resource, dataplane []mesh.Tags) Matches {
	return Select(policies, func(s mesh.Spec) []mesh.Selector {
		if t := s.(*mesh.ProxyTemplate); len(t.Selectors) > 0 {
			return t.Selectors
		}
		return anybody
	}, dataplane...)
}
