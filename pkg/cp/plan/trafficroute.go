package plan

import (
	"github.com/weft-mesh/weft/pkg/proxy"
)

// route says where an outbound leads.
func (p *planner) route(out *proxy.Outbound) {
	cluster, ok := p.cluster(out.Tags, out.Protocol)
	if !ok {
		return
	}
	out.Routes.Rules = []proxy.Route{{To: []proxy.Weighted{{Cluster: cluster, Weight: 1}}}}
}
