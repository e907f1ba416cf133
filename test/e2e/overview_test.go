//go:build linux

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/testmesh"
	"github.com/weft-mesh/weft/pkg/api"
)

// inOverview wants a dataplane among all of its mesh as one that is connected
// and well, and all words in what is found about it.
func inOverview(t *testing.T, m *testmesh.Mesh, name string, words ...string) error {
	t.Helper()
	out := m.CP.Run(t, "curl", "--silent", "--show-error", "--max-time", "5", "--unix-socket", filepath.Join(m.Dir, "api.sock"),
		"http://localhost/meshes/default/dataplanes/_overview")
	var page struct {
		Items []struct {
			Name             string
			DataplaneInsight api.DataplaneInsight
		}
	}
	if err := json.Unmarshal([]byte(out), &page); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	for _, item := range page.Items {
		in := item.DataplaneInsight
		if item.Name != name || in.Weft == nil || !in.Connected() {
			continue
		}
		s := in.Subscriptions[len(in.Subscriptions)-1]
		if s.Status.LDS.Acknowledged == 0 || s.Version == nil || s.Version.KumaDP == nil || s.Version.Envoy == nil || !strings.HasPrefix(s.Version.Envoy.Version, "1.") {
			return fmt.Errorf("no listener is taken, or no version told: %s", out)
		}
		if len(in.Weft.Refused) > 0 && s.Status.Total.Rejected == 0 {
			return fmt.Errorf("what is refused is not counted: %s", out)
		}
		found := fmt.Sprintf("%+v", *in.Weft)
		for _, w := range words {
			if !strings.Contains(found, w) {
				return fmt.Errorf("%q is not in %s", w, found)
			}
		}
		return nil
	}
	return errors.New(out)
}
