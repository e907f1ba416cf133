package relay

import (
	"maps"
	"strconv"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// probes is how the workloads are asked, by port, as their clusters say.
type probes struct {
	delivery[map[uint16]proxy.Probe]

	now   map[uint16]proxy.Probe
	known bool
}

// workloadCluster begins the names of workloads' clusters; their port follows.
const workloadCluster = "localhost:"

// takeProbes hands on how workloads are asked, where that differs from before.
// It is called with the lock.
func (r *Relay) takeProbes() {
	now := map[uint16]proxy.Probe{}
	for name, res := range r.table[clusters].desired {
		text, of := strings.CutPrefix(name, workloadCluster)
		port, err := strconv.ParseUint(text, 10, 16)
		if !of || err != nil || res == nil {
			continue
		}
		if p, has := probeOf(res); has {
			now[uint16(port)] = p
		}
	}
	if r.probes.known && maps.Equal(now, r.probes.now) {
		return
	}
	r.probes.now, r.probes.known = now, true
	r.probes.put(now)
}

// probeOf reads what package render wrote.
func probeOf(res *discoveryv3.Resource) (p proxy.Probe, has bool) {
	var c clusterv3.Cluster
	if err := res.GetResource().UnmarshalTo(&c); err != nil {
		return p, false
	}
	told, has := c.GetMetadata().GetFilterMetadata()[proxy.ProbeMetadata]
	if !has {
		return p, false
	}
	fields := told.GetFields()
	duration := func(name string) proxy.Duration {
		d, _ := time.ParseDuration(fields[name].GetStringValue())
		return proxy.Duration(d)
	}
	p = proxy.Probe{
		Interval: duration("interval"), Timeout: duration("timeout"),
		Unhealthy: uint32(fields["unhealthy"].GetNumberValue()), Healthy: uint32(fields["healthy"].GetNumberValue()),
	}
	return p, p.Interval > 0 && p.Timeout > 0
}
