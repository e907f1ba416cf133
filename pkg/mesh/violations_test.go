package mesh_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// What a document costs to refuse must not grow with what is wrong with it.
func TestViolationsAreToldUpToALimit(t *testing.T) {
	for _, n := range []int{1, mesh.MaxViolations, mesh.MaxViolations + 1, 100_000} {
		var v mesh.Violations
		for range n {
			v.Add("sources[0].match", "must have at least one tag")
		}
		told, ok := errors.AsType[mesh.Violations](v.Err())
		if want := min(n, mesh.MaxViolations); !ok || len(told) != want {
			t.Errorf("of %d violations %d are told, want %d", n, len(told), want)
		}
		if len(v) != n {
			t.Errorf("the list itself has %d of %d left", len(v), n)
		}
		if got := len(v.Error()); got > 100*mesh.MaxViolations {
			t.Errorf("%d violations are told in %d bytes", n, got)
		}
		if n == 100_000 && !strings.HasSuffix(v.Error(), "and 99901 more") {
			t.Errorf("the rest is not counted: …%s", v.Error()[len(v.Error())-40:])
		}
	}
}

// Names are compared with all that came before, which must not take long.
func TestManyNamedInbounds(t *testing.T) {
	dp := mesh.Dataplane{Networking: mesh.DataplaneNetworking{Address: "192.0.2.1", Inbound: make([]mesh.Inbound, 20_000)}}
	for i := range dp.Networking.Inbound {
		dp.Networking.Inbound[i] = mesh.Inbound{Name: "same", Port: 80, Tags: mesh.Tags{"kuma.io/service": "web"}}
	}
	if got, want := len(dp.Validate()), len(dp.Networking.Inbound)-1; got != want {
		t.Errorf("%d violations, want %d: one for each name but the first", got, want)
	}
}
