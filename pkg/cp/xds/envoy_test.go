package xds

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testtime"
	"github.com/weft-mesh/weft/pkg/envoy/render"
)

// envoyBinary finds the Envoy that the tests are made for.
func envoyBinary(t *testing.T) string {
	t.Helper()
	path := os.Getenv("ENVOY")
	if path == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		path = filepath.Join(cache, "weft", "envoy-1.40.0", "envoy")
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("Envoy is not there: run make envoy (%v)", err)
	}
	return path
}

const bootstrap = `
node: {id: default.web, cluster: web}
admin: {address: {pipe: {path: %q}}}
dynamic_resources:
  ads_config:
    api_type: %s
    transport_api_version: V3
    grpc_services:
    - envoy_grpc: {cluster_name: cp}
      initial_metadata: [{key: authorization, value: default.web}]
  cds_config: {ads: {}, resource_api_version: V3}
static_resources:
  clusters:
  - name: cp
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment:
      cluster_name: cp
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %s}}}}]}]
`

// TestEnvoyPutsAChangedClusterToUseAtOnce is why there is a rewarmer: without
// it a real Envoy keeps the old cluster for its initial fetch timeout, 15 s.
func TestEnvoyPutsAChangedClusterToUseAtOnce(t *testing.T) {
	for _, api := range []string{"DELTA_GRPC", "GRPC"} {
		t.Run(api, func(t *testing.T) {
			w := newWorld(t)
			_, port, _ := net.SplitHostPort(w.conn.Target())
			dir := t.TempDir()
			admin, config := filepath.Join(dir, "admin"), filepath.Join(dir, "envoy.yaml")
			if err := os.WriteFile(config, fmt.Appendf(nil, bootstrap, admin, api, port), 0o600); err != nil {
				t.Fatal(err)
			}
			changed := bundleOf(time.Second, "api", "db")
			changed.Listeners, changed.Routes = nil, nil
			w.give(t, web, changed)
			w.endpoints(t, "default", []render.Resource{assignment("api", "192.0.2.1"), assignment("db", "192.0.2.2")})

			ctx, stop := context.WithCancel(t.Context())
			cmd := exec.CommandContext(ctx, envoyBinary(t), "-c", config, "--disable-hot-restart", "--concurrency", "1", "-l", "warning")
			out := &syncBuffer{}
			cmd.Stdout, cmd.Stderr = out, out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				stop()
				_ = cmd.Wait()
				if t.Failed() {
					t.Logf("Envoy:\n%s\ncontrol plane:\n%s", out, w.log)
				}
			})
			client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", admin)
			}}}
			t.Cleanup(client.CloseIdleConnections)
			active := func(timeout string) func() bool {
				return func() bool { return activeWith(client, timeout) == 2 }
			}
			eventually(t, "Envoy uses the clusters", active("1s"))

			watch := testtime.Start(t)
			changed = bundleOf(2*time.Second, "api", "db")
			changed.Listeners, changed.Routes = nil, nil
			w.give(t, web, changed)
			eventually(t, "Envoy uses the changed clusters", active("2s"))
			if d := watch.Took(); d > 5*time.Second {
				t.Errorf("the changed clusters were in use after %s", d)
			}
		})
	}
}

// activeWith counts Envoy's active clusters with that connect timeout.
func activeWith(client *http.Client, timeout string) (n int) {
	resp, err := client.Get("http://envoy/config_dump?resource=dynamic_active_clusters")
	if err != nil {
		return 0
	}
	defer func() { _ = resp.Body.Close() }()
	var dump struct {
		Configs []struct {
			Cluster struct {
				ConnectTimeout string `json:"connect_timeout"`
			} `json:"cluster"`
		} `json:"configs"`
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil || json.Unmarshal(b, &dump) != nil {
		return 0
	}
	for _, c := range dump.Configs {
		if c.Cluster.ConnectTimeout == timeout {
			n++
		}
	}
	return n
}
