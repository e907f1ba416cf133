package publish

import (
	"net/netip"
	"strings"

	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// blame adds to refusals which policies had a say in what was refused.
func blame(c *proxy.Config, all []refused) []refused {
	for i, r := range all {
		all[i].Origins = origins(c, r.Type, r.Resources)
	}
	return all
}

// origins are the policies in the parts of a plan from which resources of one
// type were rendered, by the names that package render gives them. What no part
// is known of comes from the whole plan.
func origins(c *proxy.Config, kind string, resources []string) (names []string) {
	if c == nil {
		return nil
	}
	var parts []any
	for _, name := range resources {
		parts = append(parts, partsOf(c, kind, name)...)
	}
	if len(parts) == 0 {
		parts = []any{*c}
	}
	parts = append(parts, c.Template)
	for _, o := range proxy.Origins(parts...) {
		names = append(names, o.String())
	}
	return names
}

func partsOf(c *proxy.Config, kind, resource string) (parts []any) {
	direction, of, _ := strings.Cut(resource, ":")
	at, _ := netip.ParseAddrPort(of)
	switch kind {
	case "clusters", "endpoints":
		for _, cl := range c.Clusters {
			if cl.Name == resource {
				parts = append(parts, cl)
			}
		}
	case "routes", "listeners":
		for _, in := range c.Inbounds {
			if direction == "inbound" && in.Listen == at {
				permission := proxy.Origin{Kind: mesh.TrafficPermissionKind.Name, Name: in.Access.Policy}
				if in.Access.Policy == "" {
					permission = proxy.Origin{}
				}
				parts = append(parts, in, permission)
			}
		}
		for _, out := range c.Outbounds {
			if direction == "outbound" && (out.Name == of || listens(out, at)) {
				parts = append(parts, out)
			}
		}
	}
	return parts
}

func listens(out proxy.Outbound, at netip.AddrPort) bool {
	for _, l := range out.Listen {
		if l == at && at.IsValid() {
			return true
		}
	}
	return false
}
