package plan

import (
	"cmp"
	"time"

	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// probe is how a workload is asked, with what Kuma takes where the Dataplane
// does not say. Source: dpServer.hds.checkDefaults of its configuration.
func probe(p *mesh.ServiceProbe) *proxy.Probe {
	if p == nil {
		return nil
	}
	or := func(text string, otherwise time.Duration) proxy.Duration {
		d, _ := time.ParseDuration(text) // the kind validates it
		return proxy.Duration(cmp.Or(d, otherwise))
	}
	return &proxy.Probe{
		Interval: or(p.Interval, time.Second), Timeout: or(p.Timeout, 2*time.Second),
		Unhealthy: cmp.Or(p.UnhealthyThreshold, 1), Healthy: cmp.Or(p.HealthyThreshold, 1),
	}
}
