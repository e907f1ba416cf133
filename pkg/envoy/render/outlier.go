package render

import (
	"math"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// outlierDetection takes endpoints of a cluster out that fail. Of Envoy's
// detectors those are off that the plan does not have.
func outlierDetection(c *clusterv3.Cluster, o *proxy.Outlier) {
	if o == nil {
		return
	}
	on, off := wrapperspb.UInt32(100), wrapperspb.UInt32(0)
	d := &clusterv3.OutlierDetection{
		Interval:                       durationpb.New(time.Duration(o.Interval)),
		BaseEjectionTime:               durationpb.New(time.Duration(o.BaseEjection)),
		MaxEjectionPercent:             wrapperspb.UInt32(o.MaxPercent),
		AlwaysEjectOneHost:             wrapperspb.Bool(true),
		SplitExternalLocalOriginErrors: o.SplitLocal,

		EnforcingConsecutive_5Xx:               off,
		EnforcingConsecutiveGatewayFailure:     off,
		EnforcingConsecutiveLocalOriginFailure: off,
		EnforcingSuccessRate:                   off,
		EnforcingLocalOriginSuccessRate:        off,
		EnforcingFailurePercentage:             off,
		EnforcingFailurePercentageLocalOrigin:  off,
	}
	if e := o.Errors; e != nil {
		d.EnforcingConsecutive_5Xx, d.Consecutive_5Xx = on, wrapperspb.UInt32(e.Consecutive)
	}
	if e := o.Gateway; e != nil {
		d.EnforcingConsecutiveGatewayFailure, d.ConsecutiveGatewayFailure = on, wrapperspb.UInt32(e.Consecutive)
	}
	if e := o.Local; e != nil {
		d.EnforcingConsecutiveLocalOriginFailure, d.ConsecutiveLocalOriginFailure = on, wrapperspb.UInt32(e.Consecutive)
	}
	if s := o.Deviation; s != nil {
		d.EnforcingSuccessRate, d.EnforcingLocalOriginSuccessRate = on, on
		d.SuccessRateRequestVolume, d.SuccessRateMinimumHosts = wrapperspb.UInt32(s.Requests), wrapperspb.UInt32(s.Hosts)
		d.SuccessRateStdevFactor = wrapperspb.UInt32(uint32(math.Round(s.Factor * 1000)))
	}
	if f := o.Failure; f != nil {
		d.EnforcingFailurePercentage, d.EnforcingFailurePercentageLocalOrigin = on, on
		d.FailurePercentageRequestVolume, d.FailurePercentageMinimumHosts = wrapperspb.UInt32(f.Requests), wrapperspb.UInt32(f.Hosts)
		d.FailurePercentageThreshold = wrapperspb.UInt32(f.Threshold)
	}
	c.OutlierDetection = d
}

// circuitBreakers limits what is under way to a cluster.
func circuitBreakers(c *clusterv3.Cluster, l *proxy.Limits) {
	if l == nil {
		return
	}
	c.CircuitBreakers = &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
		MaxConnections:     wrapperspb.UInt32(l.Connections),
		MaxPendingRequests: wrapperspb.UInt32(l.Pending),
		MaxRequests:        wrapperspb.UInt32(l.Requests),
		MaxRetries:         wrapperspb.UInt32(l.Retries),
	}}}
}
