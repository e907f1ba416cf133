package policy

import "github.com/weft-mesh/weft/pkg/mesh"

// RateLimits finds the RateLimits for an inbound with these tags. Of those
// that match a call the first counts, whose source is the most specific.
func RateLimits(limits []*mesh.Resource, inbound mesh.Tags) Matches {
	return Inbound(limits, rateLimitEnds, inbound)
}

// ExternalRateLimits begins the choice of the RateLimits for what is outside
// of the mesh: there is no inbound, so the caller's own proxy keeps the limit,
// and only the one that fits best counts.
func ExternalRateLimits(limits []*mesh.Resource, sources []mesh.Tags) *Choice {
	return From(limits, rateLimitEnds, sources)
}

func rateLimitEnds(s mesh.Spec) (sources, destinations []mesh.Selector) {
	l := s.(*mesh.RateLimit)
	return l.Sources, l.Destinations
}
