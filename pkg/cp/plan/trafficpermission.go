package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/cp/policy"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// access says who may call an inbound with these tags.
func (p *planner) access(tags mesh.Tags) proxy.Access { return p.accessIn(p.mode(), tags) }

func (p *planner) accessIn(mode string, tags mesh.Tags) proxy.Access {
	a := proxy.Access{Mode: mode}
	if a.Mode == proxy.Plain {
		a.Why = fmt.Sprintf("mesh %s has no mTLS, so nobody is denied; set its mtls.enabledBackend to make permissions count", p.view.Name())
		return a
	}
	calls := "every call"
	if a.Mode == proxy.Permissive {
		calls = "every mTLS call"
		a.Why = fmt.Sprintf("mTLS of mesh %s is PERMISSIVE: plain connections come in unasked; ", p.view.Name())
	}
	find := func(all []*mesh.Resource) policy.Matches { return policy.Permissions(all, tags) }
	matches := p.policies(mesh.TrafficPermissionKind, find, tags)
	winner, ok := matches.Winner()
	if !ok {
		a.Why += fmt.Sprintf("no TrafficPermission has destinations that match %s: %s is denied; "+
			"apply one whose destinations match and whose sources name the callers", words(tags), calls)
		return a
	}
	a.Policy = winner.Policy.Meta.Name
	a.Allow = p.principals(winner.Policy)
	a.Why += why(matches)
	return a
}

// permitted tells whether the workload is told of a service: of every one,
// unless the mesh limits that to those that some permission lets it call. Of
// destinations that name no service any may be meant.
func (p *planner) permitted(service string) bool {
	if !p.spec.PermittedOnly() || p.mode() != proxy.Strict {
		return true
	}
	p.asked[service] = true
	return p.choice(mesh.TrafficPermissionKind, policy.Permitted).Touches(map[string]bool{service: true})
}

// principals returns everybody whom a permission's sources name.
func (p *planner) principals(permission *mesh.Resource) (prs []proxy.Principal) {
	for i, s := range permission.Spec.(*mesh.TrafficPermission).Sources {
		part := fmt.Sprintf("TrafficPermission %q sources[%d]", permission.Meta.Name, i)
		pr, ok := principal(p.view.Name(), s)
		if !ok {
			p.warnOnce(part, "%s names nobody: no tag has such a value", words(s.Match))
			continue
		}
		for k, v := range s.Match {
			if v == mesh.Any && k != mesh.ServiceTag && len(pr.URIs) == 0 {
				p.warnOnce(part, "%s lets in every dataplane of the mesh: certificates show values, so \"*\" cannot ask for a tag to be there", words(s.Match))
			}
		}
		prs = append(prs, pr)
	}
	slices.SortFunc(prs, func(a, b proxy.Principal) int { return slices.Compare(a.URIs, b.URIs) })
	return slices.CompactFunc(prs, func(a, b proxy.Principal) bool { return slices.Equal(a.URIs, b.URIs) })
}

// warnOnce is warn for what several inbounds meet.
func (p *planner) warnOnce(part, text string, args ...any) {
	w := Warning{Part: part, Text: fmt.Sprintf(text, args...)}
	if !slices.Contains(p.warnings, w) {
		p.warnings = append(p.warnings, w)
	}
}

// maxShadowed is how many of the permissions that lost are named to people.
const maxShadowed = 3

// why tells who decides and who does not. There is at least one match.
func why(matches policy.Matches) string {
	var b strings.Builder
	winner := matches[0]
	fmt.Fprintf(&b, "TrafficPermission %q decides, by its destination %s", winner.Policy.Meta.Name, words(winner.Selector.Match))
	if len(matches) == 1 {
		return b.String()
	}
	b.WriteString("; it decides alone, so to let more callers in, add them to its sources. Without effect here: ")
	for i, m := range matches[1:] {
		if i == maxShadowed {
			fmt.Fprintf(&b, "; and %d more", len(matches)-1-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%q by %s, %s", m.Policy.Meta.Name, words(m.Selector.Match), winner.Beats(m))
	}
	return b.String()
}

// words prints tags for people.
func words(tags mesh.Tags) string {
	if len(tags) == 0 {
		return "no tags"
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		parts = append(parts, k+"="+tags[k])
	}
	return strings.Join(parts, " ")
}
