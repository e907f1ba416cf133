package render

import (
	"crypto/sha256"
	"encoding/json"
	"slices"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// A Part is a piece of a plan that is rendered by itself.
type Part struct {
	// Key is that of all parts that are rendered alike, whosever plan they are
	// of; zero is nobody's but this one's.
	Key    [sha256.Size]byte
	Render func() (*Bundle, error)
}

// Parts takes a plan apart: what is rendered of all parts is what Resources
// renders of the whole. An outbound, with the clusters that it leads to, is a
// part that many proxies of a mesh have alike; the rest is the proxy's own. A
// plan with a template, which may change everything, is one part.
func Parts(c *proxy.Config) []Part {
	if c.Template != nil {
		return []Part{whole(c)}
	}
	clusters := make(map[string]int, len(c.Clusters))
	for i, cl := range c.Clusters {
		clusters[cl.Name] = i
	}
	led := make([]bool, len(c.Clusters))
	parts := make([]Part, 0, len(c.Outbounds)+1)
	for _, out := range c.Outbounds {
		parts = append(parts, alike(c, out, clusters, led))
	}
	rest := *c
	rest.Outbounds, rest.Clusters = nil, nil
	for i, cl := range c.Clusters {
		if !led[i] {
			rest.Clusters = append(rest.Clusters, cl)
		}
	}
	return append(parts, whole(&rest))
}

func whole(c *proxy.Config) Part {
	return Part{Render: func() (*Bundle, error) { return Resources(c) }}
}

// alike is a plan of nothing but out, and of that only what it is rendered of:
// the plan is its key, so that nothing can be left out of the key.
func alike(c *proxy.Config, out proxy.Outbound, clusters map[string]int, led []bool) Part {
	small := &proxy.Config{Outbounds: []proxy.Outbound{out}, Tags: c.Tags, Tracing: c.Tracing}
	if c.Identity != nil {
		small.Identity = &proxy.Identity{TrustDomain: c.Identity.TrustDomain}
	}
	if c.Transparent != nil {
		small.Transparent = &proxy.Transparent{} // it captures nothing, and is there
	}
	var to []int
	for _, rule := range out.Routes.Rules {
		for _, w := range rule.To {
			if i, ok := clusters[w.Cluster]; ok {
				to = append(to, i)
			}
		}
	}
	slices.Sort(to)
	for _, i := range slices.Compact(to) {
		led[i] = true
		small.Clusters = append(small.Clusters, c.Clusters[i])
		if c.Clusters[i].LoadBalancer != nil {
			small.ID = c.ID // who calls may be what is hashed
		}
	}
	p := whole(small)
	if key, err := json.Marshal(small); err == nil {
		p.Key = sha256.Sum256(key)
	}
	return p
}
