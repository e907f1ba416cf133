//go:build linux

package e2e

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/testmesh"
)

var bulk = flag.Int("bulk", 200, "resources of which the store refuses one, and Envoy another; 1000 for the whole of it")

// TestOneOfManyIsRefused applies many resources at once, of which the control
// plane takes all but one, and Envoy all but another. Both are named, all others
// are in force, and no stream ends for it. (F19)
func TestOneOfManyIsRefused(t *testing.T) {
	m := testmesh.New(t)
	web := m.Join(t, "web")
	before := web.Status(t).Relay.ControlPlane.Since
	var doc strings.Builder
	for i := range *bulk {
		in := "default"
		if i == *bulk/2 {
			in = "nowhere"
		}
		fmt.Fprintf(&doc, "type: ExternalService\nmesh: %s\nname: bulk-%d\ntags: {kuma.io/service: bulk-%d}\nnetworking: {address: '192.0.2.1:80'}\n---\n", in, i, i)
	}
	doc.WriteString(poison)
	file := filepath.Join(t.TempDir(), "bulk.yaml")
	if err := os.WriteFile(file, []byte(doc.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := m.TryCtl(t, "apply", "-f", file)
	refusedOnes := 0
	for line := range strings.Lines(out) {
		if strings.Contains(line, "nowhere") && strings.Contains(line, fmt.Sprintf("bulk-%d", *bulk/2)) {
			refusedOnes++
		}
	}
	if taken := strings.Count(out, ": created"); err == nil || taken != *bulk || refusedOnes != 1 {
		t.Errorf("%d were created, want %d; %d lines name the one that was not; %v\n%s", taken, *bulk, refusedOnes, err, out)
	}
	want := *bulk - 1
	testmesh.Eventually(t, "Envoy has all the others", func() error {
		dump := web.Run(t, "curl", "--silent", "--unix-socket", web.Dir+"/run/envoy/admin.sock", "http://x/config_dump?resource=dynamic_active_clusters")
		if got := strings.Count(dump, `"name": "bulk-`); got != want {
			return fmt.Errorf("it has %d, want %d", got, want)
		}
		return nil
	})
	testmesh.Eventually(t, "the status names what Envoy refuses", func() error {
		out := m.Ctl(t, "inspect", "dataplane", "web-1", "--stage", "stream")
		for _, w := range []string{"poison", "malformed IP address", `ProxyTemplate "poison"`} {
			if !strings.Contains(out, w) {
				return fmt.Errorf("%q is not in\n%s", w, out)
			}
		}
		return nil
	})
	if now := web.Status(t).Relay.ControlPlane; !now.Connected || !now.Since.Equal(before) {
		t.Errorf("the stream is since %s, was since %s; connected %t", now.Since, before, now.Connected)
	}
	t.Logf("F19: seed none, resources %d, in force %d, refused by the control plane 1, by Envoy 1; streams ended 0", *bulk+1, want)
}
