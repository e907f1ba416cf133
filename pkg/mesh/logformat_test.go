package mesh

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/envoytest"
)

func TestLogFormat(t *testing.T) {
	for _, c := range []struct {
		format string
		want   string // "" is valid; else what the one violation begins with
	}{
		{"", ""},
		{"plain words\nand lines", ""},
		{"100%% %PROTOCOL%%%", ""},
		{"%KUMA_SOURCE_ADDRESS% %KUMA_SOURCE_ADDRESS_WITHOUT_PORT% %KUMA_SOURCE_SERVICE% %KUMA_DESTINATION_SERVICE% %KUMA_MESH% %KUMA_TRAFFIC_DIRECTION% %KUMA_ZONE% %KUMA_WORKLOAD%", ""},
		{`{"path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH):100%", "at": "%START_TIME(%Y/%m/%dT%H:%M:%S.%3f)%"}`, ""},
		{"%", `there is no command at byte 0, "%"`},
		{"ab %REQ(X", `there is no command at byte 3, "%REQ(X"`},
		{"%duration%", `there is no command at byte 0`},
		{"%DURATION% 50% off", "there is no command at byte 13"},
		{"%REQ(a):100000%", "there is no command at byte 0"},
		{"%KUMA_SERVICE%", "%KUMA_SERVICE%: there is no such placeholder; there are KUMA_SOURCE_ADDRESS, "},
		{"%KUMA_MESH:5%", "%KUMA_MESH:5%: takes neither an argument nor a length"},
		{"%KUMA_MESH()%", "%KUMA_MESH()%: takes neither an argument nor a length"},
		{"%NOSUCH%", "%NOSUCH%: Envoy has no such command"},
		{"%CEL(1)%", "%CEL(1)%: Envoy has no such command"},
		{"%DURATION(a)%", "%DURATION(a)%: takes no argument"},
		{"%DURATION:5%", "%DURATION:5%: takes no length"},
		{"%REQ%", "%REQ%: needs an argument, as in %REQ(X-FIRST?X-SECOND)%"},
		{"%REQ()%", "%REQ()%: its argument is not understood"},
		{"%REQ(a?b?c)%", "%REQ(a?b?c)%: its argument is not understood"},
		{"%RESP(a b)%", "%RESP(a b)%: its argument is not understood"},
		{"%PATH(x)%", "%PATH(x)%: its argument is not understood; it is as in %PATH(NQ:ORIG)%"},
		{"a\rb", "must not contain carriage returns"},
		{strings.Repeat("x", maxLogFormat+1), "must have at most 8192 bytes, has 8193"},
		{strings.Repeat("%%", maxLogFormatCommands+1), "must have at most 256 commands"},
	} {
		v := validateLogFormat("f", c.format)
		if c.want == "" && len(v) > 0 || c.want != "" && (len(v) != 1 || !strings.HasPrefix(v[0].Reason, c.want)) {
			t.Errorf("%.40q: %v, want %q", c.format, v, c.want)
		}
	}
}

// Everything that is accepted must be accepted by Envoy, which would refuse a
// whole listener for one command.
func TestEnvoyKnowsTheCommands(t *testing.T) {
	var formats []string
	for _, name := range slices.Sorted(maps.Keys(logCommands)) {
		takes := logCommands[name]
		if !takes.needed {
			formats = append(formats, "%"+name+"%")
		}
		if takes.argument != nil {
			formats = append(formats, "%"+name+"("+takes.example+")%")
		}
		if takes.argument != nil && takes.length {
			formats = append(formats, "%"+name+"("+takes.example+"):99999%")
		}
	}
	formats = append(formats, "%METADATA(DYNAMIC:a)%", "%METADATA(CLUSTER:a:b)%", "%METADATA(UPSTREAM_HOST:a)%", "%METADATA(LISTENER:a)%", "%METADATA(VIRTUAL_HOST:a)%",
		"%FILTER_STATE(a)%", "%FILTER_STATE(a:TYPED)%", "%PATH(WQ:PATH)%", "%PATH(NQ:ORIG_OR_PATH)%", "%QUERY_PARAMS(DECODED)%", "%REQ(:METHOD)%", "%START_TIME(%s %9f %E*S)%", "%START_TIME()%", "%%")
	format := strings.Join(formats, " ")
	for _, f := range formats {
		if v := validateLogFormat("f", f); len(v) > 0 {
			t.Errorf("%s: %v", f, v)
		}
	}
	type object = map[string]any
	bootstrap, err := json.Marshal(object{"static_resources": object{
		"listeners": []object{{
			"name": "l", "address": object{"socket_address": object{"address": "127.0.0.1", "port_value": 10001}},
			"filter_chains": []object{{"filters": []object{{"name": "tcp", "typed_config": object{
				"@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "x", "cluster": "c",
				"access_log": []object{{"name": "log", "typed_config": object{
					"@type":        "type.googleapis.com/envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig",
					"grpc_service": object{"envoy_grpc": object{"cluster_name": "c"}}, "log_name": "x",
					"body": object{"string_value": format},
				}}},
			}}}}},
		}},
		"clusters": []object{{"name": "c", "type": "STATIC", "connect_timeout": "1s", "load_assignment": object{"cluster_name": "c"}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	envoytest.Validate(t, bootstrap)
}

func TestExpandLogFormat(t *testing.T) {
	values := map[string]string{LogMesh: "default", LogSourceService: "web", LogZone: "50%"}
	for _, c := range []struct{ format, want string }{
		{"", ""},
		{"none", "none"},
		{"%KUMA_MESH%/%KUMA_SOURCE_SERVICE%.%KUMA_WORKLOAD%", "default/web."},
		{"%%KUMA_MESH%% %START_TIME(%Y)% %KUMA_MESH%", "%%KUMA_MESH%% %START_TIME(%Y)% default"},
		{"%KUMA_ZONE% %PROTOCOL%", "50%% %PROTOCOL%"},
		{"5% %KUMA_MESH%", "5% default"},
	} {
		if got := ExpandLogFormat(c.format, values); got != c.want {
			t.Errorf("%q becomes %q, want %q", c.format, got, c.want)
		}
	}
}
