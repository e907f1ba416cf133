package xds

import (
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/encoding/protojson"
)

func TestVersions(t *testing.T) {
	long := strings.Repeat("1", 2*maxVersion)
	for name, tt := range map[string]struct{ node, agent, envoy string }{
		"nothing is said":  {node: `{"id": "default.web"}`},
		"an agent":         {`{"metadata": {"version": {"kumaDp": {"version": "0.1.0"}, "envoy": {"version": "1.40.0"}}}}`, "0.1.0", "1.40.0"},
		"an Envoy alone":   {`{"userAgentName": "envoy", "userAgentBuildVersion": {"version": {"majorNumber": 1, "minorNumber": 40}}}`, "", "1.40.0"},
		"another program":  {`{"userAgentName": "load", "userAgentBuildVersion": {"version": {"majorNumber": 1}}}`, "", ""},
		"another shape":    {`{"metadata": {"version": "1", "envoy": 7}}`, "", ""},
		"an endless claim": {`{"metadata": {"version": {"kumaDp": {"version": "` + long + `"}}}}`, long[:maxVersion], ""},
	} {
		node := &corev3.Node{}
		if err := protojson.Unmarshal([]byte(tt.node), node); err != nil {
			t.Fatal(err)
		}
		if agent, envoy := versions(node); agent != tt.agent || envoy != tt.envoy {
			t.Errorf("%s: agent %q, Envoy %q, want %q and %q", name, agent, envoy, tt.agent, tt.envoy)
		}
	}
	if agent, envoy := versions(nil); agent != "" || envoy != "" {
		t.Errorf("no node: agent %q, Envoy %q", agent, envoy)
	}
}
