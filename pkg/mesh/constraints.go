package mesh

import (
	"fmt"
	"slices"
	"strings"
)

func (c *Constraints) validate(path string) (v Violations) {
	if c == nil || c.DataplaneProxy == nil {
		return nil
	}
	rules := func(path string, rs []TagRule) {
		for i, r := range rs {
			at := field(path, i, "tags")
			if len(r.Tags) == 0 {
				v.Add(at, "must have at least one tag")
			}
			for _, k := range sortedKeys(r.Tags) {
				if !tagKey.MatchString(k) {
					v.Add(keyed(at, k), tagKeyRule)
				}
				if !selectorValue.MatchString(r.Tags[k]) {
					v.Add(keyed(at, k), selectorValueRule)
				}
			}
		}
	}
	rules(field(path, "dataplaneProxy.requirements"), c.DataplaneProxy.Requirements)
	rules(field(path, "dataplaneProxy.restrictions"), c.DataplaneProxy.Restrictions)
	return v
}

// Admits tells why dp may not join a mesh with these constraints; nothing when
// it may. Every inbound, and a gateway, has to meet them.
func (c *Constraints) Admits(dp *Dataplane) (v Violations) {
	if c == nil || c.DataplaneProxy == nil {
		return nil
	}
	n := &dp.Networking
	for i := range n.Inbound {
		c.DataplaneProxy.admits(&v, field("networking.inbound", i, "tags"), n.Inbound[i].Tags)
	}
	if n.Gateway != nil {
		c.DataplaneProxy.admits(&v, "networking.gateway.tags", n.Gateway.Tags)
	}
	return v
}

func (c *DataplaneConstraints) admits(v *Violations, path string, t Tags) {
	met := func(r TagRule) bool { return Selector{Match: r.Tags}.Matches(t) }
	if len(c.Requirements) > 0 && !slices.ContainsFunc(c.Requirements, met) {
		var wanted []string
		for _, r := range c.Requirements {
			wanted = append(wanted, r.Tags.String())
		}
		v.Add(path, "the mesh takes only dataplanes with the tags %s; these are %s", strings.Join(wanted, " or "), t)
	}
	for _, r := range c.Restrictions {
		if met(r) {
			v.Add(path, "the mesh takes no dataplanes with the tags %s; these are %s", r.Tags, t)
		}
	}
}

// String returns the tags sorted, as in {env=prod, kuma.io/service=web}.
func (t Tags) String() string {
	parts := make([]string, 0, len(t))
	for _, k := range sortedKeys(t) {
		parts = append(parts, fmt.Sprintf("%s=%s", k, t[k]))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
