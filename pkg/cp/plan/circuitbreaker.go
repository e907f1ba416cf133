package plan

import (
	"time"

	"github.com/weft-mesh/weft/pkg/cp/policy"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// What a CircuitBreaker means where it does not say it: Envoy's defaults.
const (
	outlierInterval    = proxy.Duration(10 * time.Second)
	baseEjection       = proxy.Duration(30 * time.Second)
	maxEjectionPercent = 10
	consecutive        = 5
	minimumHosts       = 5
	deviationRequests  = 100
	deviationFactor    = 1.9
	failureRequests    = 50
	failureThreshold   = 85
	maxUnderWay        = 1024 // connections, pending requests, requests
	maxRetries         = 3
)

// circuitBreaker says which endpoints of a cluster are left out, and what is
// too much.
func (p *planner) circuitBreaker(c *proxy.Cluster) {
	spec, m := chosen[*mesh.CircuitBreaker](p, mesh.CircuitBreakerKind, policy.CircuitBreakers, c.Service)
	if spec == nil {
		return
	}
	conf, from := spec.Conf, origin(m)
	if d := conf.Detectors; d != nil {
		o := &proxy.Outlier{
			From: from, Interval: outlierInterval, BaseEjection: baseEjection,
			MaxPercent: or(conf.MaxEjectionPercent, maxEjectionPercent),
			SplitLocal: conf.SplitExternalAndLocalErrors,
			Errors:     detector(d.TotalErrors),
			Gateway:    detector(d.GatewayErrors),
			Local:      detector(d.LocalErrors),
		}
		set(&o.Interval, conf.Interval)
		set(&o.BaseEjection, conf.BaseEjectionTime)
		if s := d.StandardDeviation; s != nil {
			o.Deviation = &proxy.Deviation{
				Requests: or(s.RequestVolume, deviationRequests), Hosts: or(s.MinimumHosts, minimumHosts), Factor: or(s.Factor, deviationFactor),
			}
		}
		if f := d.Failure; f != nil {
			o.Failure = &proxy.Failure{
				Requests: or(f.RequestVolume, failureRequests), Hosts: or(f.MinimumHosts, minimumHosts), Threshold: or(f.Threshold, failureThreshold),
			}
		}
		if o.Local != nil && !o.SplitLocal {
			p.warnOnce("CircuitBreaker \""+from.Name+"\" conf.detectors.localErrors", "has no effect without conf.splitExternalAndLocalErrors: such errors count as 5xx")
		}
		c.Outlier = o
	}
	if t := conf.Thresholds; t != nil {
		c.Limits = &proxy.Limits{
			From:        from,
			Connections: or(t.MaxConnections, maxUnderWay),
			Pending:     or(t.MaxPendingRequests, maxUnderWay),
			Requests:    or(t.MaxRequests, maxUnderWay),
			Retries:     or(t.MaxRetries, maxRetries),
		}
	}
}

func detector(d *mesh.ConsecutiveDetector) *proxy.Detector {
	if d == nil {
		return nil
	}
	return &proxy.Detector{Consecutive: or(d.Consecutive, consecutive)}
}
