package api_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/mesh"
)

func TestErrorDocument(t *testing.T) {
	var v mesh.Violations
	v.Add("networking.address", "must not be empty")
	v.Add("", "is odd")
	for _, c := range []struct {
		e          *api.Error
		json, text string
	}{
		{
			api.NewError(404, "Could not retrieve a resource", "Not found", nil),
			`{"type":"/std-errors","status":404,"title":"Could not retrieve a resource","detail":"Not found","details":"Not found"}`,
			"Could not retrieve a resource (Not found)",
		},
		{
			api.NewError(400, "Could not process a resource", "Resource is not valid", v),
			`{"type":"/std-errors","status":400,"title":"Could not process a resource","detail":"Resource is not valid",` +
				`"invalid_parameters":[{"field":"networking.address","reason":"must not be empty"},{"field":"","reason":"is odd"}],` +
				`"details":"Resource is not valid","causes":[{"field":"networking.address","message":"must not be empty"},{"field":"","message":"is odd"}]}`,
			"Could not process a resource (Resource is not valid)\n* networking.address: must not be empty\n* is odd",
		},
	} {
		j, err := json.Marshal(c.e)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.json, string(j)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(c.text, c.e.Error()); diff != "" {
			t.Error(diff)
		}
	}
	old := &api.Error{Title: "T", Causes: []api.Cause{{Field: "f", Message: "m"}}}
	if got, want := old.Error(), "T\n* f: m"; got != want {
		t.Errorf("older document prints %q, want %q", got, want)
	}
}
