package plan

import (
	"maps"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// identity is what the proxy shows to its peers: every service and every tag
// of its inbounds, or of its gateway.
func (p *planner) identity() *proxy.Identity {
	if p.mode() == proxy.Plain {
		return nil
	}
	return &proxy.Identity{TrustDomain: p.view.Name(), URIs: p.dp.Identities(p.view.Name())}
}

// principal returns whose certificates carry what a source asks for. It is ok
// unless nobody's can.
//
// A tag with the value "*" narrows nothing: a certificate shows values, it
// cannot be asked whether a tag is there.
func principal(meshName string, source mesh.Selector) (pr proxy.Principal, ok bool) {
	if len(source.Match) == 0 {
		return pr, false // not valid; whom it means is not for us to guess
	}
	for _, k := range slices.Sorted(maps.Keys(source.Match)) {
		v := source.Match[k]
		switch {
		case v == mesh.Any:
		case strings.Contains(v, "/"):
			// No tag has such a value, but kuma://a/b/c is also what a tag
			// named a/b shows.
			return proxy.Principal{}, false
		case k == mesh.ServiceTag:
			pr.URIs = append(pr.URIs, mesh.ServiceURI(meshName, v))
		default:
			pr.URIs = append(pr.URIs, mesh.TagURI(k, v))
		}
	}
	slices.Sort(pr.URIs)
	return pr, true
}
