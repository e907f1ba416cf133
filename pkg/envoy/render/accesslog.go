package render

import (
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	otelv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/open_telemetry/v3"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/pkg/proxy"
)

const (
	// logFlush is how long lines wait for company, and logBuffer how many bytes
	// of them each worker holds for a destination.
	logFlush  = time.Second
	logBuffer = 64 << 10
	// logTimeout is how long the agent may take for what it only queues.
	logTimeout = 5 * time.Second
)

// accessLogs sends lines to the agent. Envoy waits for nothing: what the agent
// does not take in time is dropped and counted.
func (r *renderer) accessLogs(logs []proxy.AccessLog) (all []*accesslogv3.AccessLog) {
	for _, l := range logs {
		all = append(all, &accesslogv3.AccessLog{
			Name: "envoy.access_loggers.open_telemetry",
			ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: r.any(&otelv3.OpenTelemetryAccessLogConfig{
				GrpcService: &corev3.GrpcService{
					TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
						EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: proxy.LogsCluster},
					},
					Timeout: durationpb.New(logTimeout),
				},
				DisableBuiltinLabels: true,
				ResourceAttributes: &commonv1.KeyValueList{Values: []*commonv1.KeyValue{{
					Key: proxy.LogSinkAttribute, Value: otelText(l.Sink()),
				}}},
				Body:                otelText(l.Format),
				BufferFlushInterval: durationpb.New(logFlush),
				BufferSizeBytes:     wrapperspb.UInt32(logBuffer),
			})},
		})
	}
	return all
}

func otelText(s string) *commonv1.AnyValue {
	return &commonv1.AnyValue{Value: &commonv1.AnyValue_StringValue{StringValue: s}}
}
