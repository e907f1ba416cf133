package plan

import (
	"strings"

	"github.com/weft-mesh/weft/pkg/cp/policy"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// healthCheck says how the endpoints of a cluster are checked.
func (p *planner) healthCheck(c *proxy.Cluster, protocol string) {
	spec, m := chosen[*mesh.HealthCheck](p, mesh.HealthCheckKind, policy.HealthChecks, c.Service)
	if spec == nil {
		return
	}
	conf := spec.Conf
	h := &proxy.HealthCheck{
		From:          origin(m),
		Unhealthy:     conf.UnhealthyThreshold,
		Healthy:       conf.HealthyThreshold,
		JitterPercent: conf.IntervalJitterPercent,
		Panic:         conf.HealthyPanicThreshold,
		FailOnPanic:   conf.FailTrafficOnPanic,
		EventLog:      conf.EventLogPath,
		LogFailures:   conf.AlwaysLogHealthCheckFailures,
		Reconnect:     !or(conf.ReuseConnection, true),
	}
	set(&h.Interval, conf.Interval)
	set(&h.Timeout, conf.Timeout)
	set(&h.InitialJitter, conf.InitialJitter)
	set(&h.Jitter, conf.IntervalJitter)
	set(&h.NoTraffic, conf.NoTrafficInterval)
	if t := conf.TCP; t != nil {
		h.TCP = &proxy.TCPCheck{Send: t.Send, Receive: t.Receive}
	}
	if t := conf.HTTP; t != nil {
		h.HTTP = httpCheck(t, c.Service, protocol)
	}
	c.HealthCheck = h
}

// httpCheck asks for a page of the service, unless a header host says of whom.
func httpCheck(t *mesh.HTTPHealthCheck, service, protocol string) *proxy.HTTPCheck {
	h := &proxy.HTTPCheck{Path: t.Path, Host: service, HTTP2: protocol == proxy.HTTP2, Statuses: sorted(t.ExpectedStatuses)}
	for _, a := range t.RequestHeadersToAdd {
		if strings.EqualFold(a.Header.Key, "host") {
			h.Host = a.Header.Value
			continue
		}
		h.Headers = append(h.Headers, proxy.Header{Name: a.Header.Key, Value: a.Header.Value, Append: or(a.Append, true)})
	}
	return h
}
