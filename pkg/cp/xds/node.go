package xds

import (
	"fmt"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// maxVersion is how much of a version is kept: whoever connects may claim any.
const maxVersion = 64

// versions reads what a node says of its agent and its Envoy; "" where it says
// nothing. An agent says both in its metadata as Kuma's does,
// version.kumaDp.version and version.envoy.version; an Envoy without an agent
// names itself.
func versions(node *corev3.Node) (agent, envoy string) {
	said := node.GetMetadata().GetFields()["version"]
	agent, envoy = programVersion(said, "kumaDp"), programVersion(said, "envoy")
	if b := node.GetUserAgentBuildVersion().GetVersion(); envoy == "" && b != nil && node.GetUserAgentName() == "envoy" {
		envoy = fmt.Sprintf("%d.%d.%d", b.GetMajorNumber(), b.GetMinorNumber(), b.GetPatch())
	}
	return agent, envoy
}

func programVersion(said *structpb.Value, program string) string {
	v := said.GetStructValue().GetFields()[program].GetStructValue().GetFields()["version"].GetStringValue()
	return strings.ToValidUTF8(v[:min(len(v), maxVersion)], "")
}
