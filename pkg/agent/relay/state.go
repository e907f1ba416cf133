package relay

import (
	"context"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/metadata"
)

// Of several control planes on one store one may lag behind another. Each
// response says, as the identifier of its control plane, replica@version: the
// store's version that its content is of at most. A new stream tells the
// highest that was seen, and a control plane that is behind it waits or sends
// the agent on: so what Envoy has never goes back.

// stateHeader is how a stream tells. Package cp reads it.
const stateHeader = "weft-state"

// stateOf is the version that a response is of; 0 where it says none.
func stateOf(resp *discoveryv3.DeltaDiscoveryResponse) uint64 {
	id := resp.GetControlPlane().GetIdentifier()
	v, err := strconv.ParseUint(id[strings.LastIndexByte(id, '@')+1:], 10, 63)
	if err != nil {
		return 0
	}
	return v
}

// byState is how a kept response says its version.
func byState(v uint64) *corev3.ControlPlane {
	if v == 0 {
		return nil
	}
	return &corev3.ControlPlane{Identifier: "@" + strconv.FormatUint(v, 10)}
}

// state is the highest version that anything is of.
func (t *table) state() (v uint64) {
	for i := range t {
		v = max(v, t[i].state)
	}
	return v
}

func withState(ctx context.Context, v uint64) context.Context {
	if v == 0 {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, stateHeader, strconv.FormatUint(v, 10))
}
