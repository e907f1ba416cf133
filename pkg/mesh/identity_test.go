package mesh_test

import (
	"slices"
	"testing"

	"github.com/weft-mesh/weft/pkg/mesh"
)

func TestIdentities(t *testing.T) {
	dp := &mesh.Dataplane{Networking: mesh.DataplaneNetworking{
		Gateway: &mesh.Gateway{Tags: mesh.Tags{"kuma.io/service": "edge"}},
		Inbound: []mesh.Inbound{
			{Tags: mesh.Tags{"kuma.io/service": "web", "v": "1"}},
			{Tags: mesh.Tags{"kuma.io/service": "web", "v": "2", "empty": ""}},
		},
	}}
	want := []string{"spiffe://m/edge", "spiffe://m/web", "kuma://kuma.io/service/edge", "kuma://kuma.io/service/web", "kuma://v/1", "kuma://v/2"}
	if got := dp.Identities("m"); !slices.Equal(got, want) {
		t.Errorf("identities %q, want %q", got, want)
	}
}
