package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// tags are what the proxy says of its workload to those that it calls: the
// tags of all of its inbounds, or of its gateway. In a mesh with mTLS it says
// nothing: nobody would believe more than its certificate.
func (p *planner) tags() map[string][]string {
	if p.mode() != proxy.Plain {
		return nil
	}
	tags := map[string][]string{}
	for _, ts := range p.dp.TagSets() {
		for k, v := range ts {
			if !slices.Contains(tags[k], v) {
				tags[k] = append(tags[k], v)
			}
		}
	}
	for _, vs := range tags {
		slices.Sort(vs)
	}
	return tags
}

// callers are those whom the sources of an inbound's policy name, none where
// they name everybody. It is not ok where they name nobody.
func (p *planner) callers(policy *mesh.Resource, sources []mesh.Selector) (cs []proxy.Caller, ok bool) {
	everybody := false
	for i, s := range sources {
		c, why := caller(s)
		if c == nil {
			p.warnOnce(fmt.Sprintf("%s %q sources[%d]", policy.Kind.Name, policy.Meta.Name, i), "%.200s names nobody: %s", words(s.Match), why)
			continue
		}
		everybody = everybody || len(c) == 0
		cs = append(cs, c)
	}
	if everybody {
		return nil, true
	}
	p.doubt(policy, cs)
	slices.SortFunc(cs, func(a, b proxy.Caller) int {
		return strings.Compare(words(mesh.Tags(a)), words(mesh.Tags(b)))
	})
	return slices.CompactFunc(cs, maps.Equal[proxy.Caller, proxy.Caller]), len(cs) > 0
}

// longestTag is how long a tag and its value may be together to be looked for
// among a caller's: Envoy's regular expressions have a limit.
const longestTag = 500

// caller is whom a source names, an empty one where that is everybody, or why
// it is nobody.
//
// "kuma.io/service: '*'" narrows nothing, as in permissions, and also means
// callers whom nobody knows: a limit for everybody that plain callers pass by
// would be none.
func caller(s mesh.Selector) (c proxy.Caller, why string) {
	if len(s.Match) == 0 {
		return nil, "it has no tags"
	}
	c = proxy.Caller{}
	for _, k := range slices.Sorted(maps.Keys(s.Match)) {
		v := s.Match[k]
		switch {
		case strings.Contains(v, "/"):
			return nil, "no tag has such a value" // as in principal
		case len(k)+len(v) > longestTag:
			return nil, fmt.Sprintf("a tag and its value may be %d characters together", longestTag)
		case k == mesh.ServiceTag && v == mesh.Any:
		default:
			c[k] = v
		}
	}
	return c, ""
}

// doubt tells where callers are not known as well as a policy needs it.
func (p *planner) doubt(policy *mesh.Resource, cs []proxy.Caller) {
	if len(cs) == 0 {
		return
	}
	part := fmt.Sprintf("%s %q sources", policy.Kind.Name, policy.Meta.Name)
	switch p.mode() {
	case proxy.Plain:
		p.warnOnce(part, "mesh %s has no mTLS, so callers are who they say they are, and anybody can say anything; set its mtls.enabledBackend", p.view.Name())
	case proxy.Permissive:
		p.warnOnce(part, "mTLS of mesh %s is PERMISSIVE: who calls in plain shows no tags and is meant by \"kuma.io/service: '*'\" alone", p.view.Name())
	}
}
