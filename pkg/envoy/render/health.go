package render

import (
	"encoding/hex"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	eventsinkv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/health_check/event_sinks/file/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// healthChecks has a cluster ask its endpoints whether they are well.
func (r *renderer) healthChecks(c *clusterv3.Cluster, p proxy.Cluster) {
	h := p.HealthCheck
	if h == nil {
		return
	}
	check := &corev3.HealthCheck{
		Interval:                     durationpb.New(time.Duration(h.Interval)),
		Timeout:                      durationpb.New(time.Duration(h.Timeout)),
		UnhealthyThreshold:           wrapperspb.UInt32(h.Unhealthy),
		HealthyThreshold:             wrapperspb.UInt32(h.Healthy),
		InitialJitter:                given(h.InitialJitter),
		IntervalJitter:               given(h.Jitter),
		IntervalJitterPercent:        h.JitterPercent,
		NoTrafficInterval:            given(h.NoTraffic),
		AlwaysLogHealthCheckFailures: h.LogFailures,
		ReuseConnection:              wrapperspb.Bool(!h.Reconnect),
	}
	if h.EventLog != "" {
		check.EventLogger = []*corev3.TypedExtensionConfig{{
			Name:        "envoy.health_check.event_sink.file",
			TypedConfig: r.any(&eventsinkv3.HealthCheckEventFileSink{EventLogPath: h.EventLog}),
		}}
	}
	if h.HTTP != nil {
		check.HealthChecker = &corev3.HealthCheck_HttpHealthCheck_{HttpHealthCheck: httpCheck(h.HTTP)}
	} else {
		check.HealthChecker = &corev3.HealthCheck_TcpHealthCheck_{TcpHealthCheck: tcpCheck(h.TCP)}
	}
	c.HealthChecks = []*corev3.HealthCheck{check}
	// An endpoint that the mesh does not list any more is gone, however well
	// it answers.
	c.IgnoreHealthOnHostRemoval = true
	if h.Panic == nil && !h.FailOnPanic {
		return
	}
	c.CommonLbConfig = &clusterv3.Cluster_CommonLbConfig{}
	if h.Panic != nil {
		c.CommonLbConfig.HealthyPanicThreshold = &typev3.Percent{Value: *h.Panic}
	}
	if h.FailOnPanic {
		c.CommonLbConfig.LocalityConfigSpecifier = &clusterv3.Cluster_CommonLbConfig_ZoneAwareLbConfig_{
			ZoneAwareLbConfig: &clusterv3.Cluster_CommonLbConfig_ZoneAwareLbConfig{FailTrafficOnPanic: true},
		}
	}
}

func tcpCheck(t *proxy.TCPCheck) *corev3.HealthCheck_TcpHealthCheck {
	check := &corev3.HealthCheck_TcpHealthCheck{}
	if t == nil {
		return check
	}
	payload := func(b []byte) *corev3.HealthCheck_Payload {
		return &corev3.HealthCheck_Payload{Payload: &corev3.HealthCheck_Payload_Text{Text: hex.EncodeToString(b)}}
	}
	if len(t.Send) > 0 {
		check.Send = payload(t.Send)
	}
	for _, b := range t.Receive {
		check.Receive = append(check.Receive, payload(b))
	}
	return check
}

func httpCheck(h *proxy.HTTPCheck) *corev3.HealthCheck_HttpHealthCheck {
	check := &corev3.HealthCheck_HttpHealthCheck{
		Host:                h.Host,
		Path:                h.Path,
		RequestHeadersToAdd: addHeaders(h.Headers),
	}
	if h.HTTP2 {
		check.CodecClientType = typev3.CodecClientType_HTTP2
	}
	for _, s := range h.Statuses {
		check.ExpectedStatuses = append(check.ExpectedStatuses, &typev3.Int64Range{Start: int64(s), End: int64(s) + 1})
	}
	return check
}
