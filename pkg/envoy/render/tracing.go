package render

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tracev3 "github.com/envoyproxy/go-control-plane/envoy/config/trace/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// tracing has a connection manager report spans, nil where the plan has none.
// towards is the service that is called, "" for the workload itself.
func (r *renderer) tracing(direction corev3.TrafficDirection, towards string) *hcmv3.HttpConnectionManager_Tracing {
	t := r.cfg.Tracing
	if t == nil {
		return nil
	}
	return &hcmv3.HttpConnectionManager_Tracing{
		OverallSampling: &typev3.Percent{Value: t.Sampling},
		Provider:        r.tracer(t, direction, towards),
	}
}

func (r *renderer) tracer(t *proxy.Tracing, direction corev3.TrafficDirection, towards string) *tracev3.Tracing_Http {
	if z := t.Zipkin; z != nil {
		version := tracev3.ZipkinConfig_HTTP_JSON
		if z.Protobuf {
			version = tracev3.ZipkinConfig_HTTP_PROTO
		}
		return r.tracerConfig("envoy.tracers.zipkin", &tracev3.ZipkinConfig{
			CollectorCluster:         t.Cluster,
			CollectorHostname:        t.Collector,
			CollectorEndpoint:        z.Path,
			CollectorEndpointVersion: version,
			TraceId_128Bit:           z.TraceID128,
			SharedSpanContext:        wrapperspb.Bool(z.Shared),
		})
	}
	d := t.Datadog
	if d == nil {
		r.fail("tracing %q: has no collector", t.Backend)
		return nil
	}
	service := d.Service
	if d.Split {
		service += "_" + direction.String()
		if towards != "" {
			service += "_" + towards
		}
	}
	return r.tracerConfig("envoy.tracers.datadog", &tracev3.DatadogConfig{
		CollectorCluster:  t.Cluster,
		CollectorHostname: t.Collector,
		ServiceName:       service,
	})
}

func (r *renderer) tracerConfig(name string, config proto.Message) *tracev3.Tracing_Http {
	return &tracev3.Tracing_Http{Name: name, ConfigType: &tracev3.Tracing_Http_TypedConfig{TypedConfig: r.any(config)}}
}
