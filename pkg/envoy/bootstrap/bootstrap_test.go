package bootstrap_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/pkg/envoy/bootstrap"
	"github.com/weft-mesh/weft/pkg/proxy"
)

func config(dir string) bootstrap.Config {
	return bootstrap.Config{
		ID:          proxy.ID{Mesh: "default", Name: "web-1"},
		Service:     "web",
		XDSSocket:   filepath.Join(dir, "xds.sock"),
		SDSSocket:   filepath.Join(dir, "sds.sock"),
		AdminSocket: filepath.Join(dir, "admin.sock"),
		LogsSocket:  filepath.Join(dir, "logs.sock"), MetricsSocket: filepath.Join(dir, "metrics.sock"),
		Memory: 256 << 20, Metadata: map[string]any{"version": map[string]any{"weft": "1.2.3"}, "features": []string{"a"}},
	}
}

func TestEnvoyAccepts(t *testing.T) {
	dir := envoytest.Dir(t)
	full := config(dir)
	least := full
	least.Service, least.Metadata, least.LogsSocket, least.MetricsSocket, least.Memory = "", nil, "", "", 0
	for name, c := range map[string]bootstrap.Config{"full": full, "least": least} {
		t.Run(name, func(t *testing.T) {
			text, err := bootstrap.JSON(c)
			if err != nil {
				t.Fatal(err)
			}
			envoytest.Validate(t, text)
		})
	}
}

func TestNode(t *testing.T) {
	c := config("/run/weft")
	for service, want := range map[string]string{"web": "web", "": "web-1"} {
		c.Service = service
		text, err := bootstrap.JSON(c)
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Node struct{ ID, Cluster string }
		}
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if got.Node.ID != "default.web-1" || got.Node.Cluster != want {
			t.Errorf("service %q: node %+v, want default.web-1 of cluster %q", service, got.Node, want)
		}
	}
}

func TestEqualConfigsGiveEqualBytes(t *testing.T) {
	c := config("/run/weft")
	first, err := bootstrap.JSON(c)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		c.Metadata = maps.Clone(c.Metadata)
		again, err := bootstrap.JSON(c)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, again) {
			t.Fatalf("differs:\n%s\n%s", first, again)
		}
	}
}

func TestSocketPaths(t *testing.T) {
	c := config("/run/weft")
	c.XDSSocket, c.SDSSocket, c.AdminSocket = "", "run/sds.sock", "/"+strings.Repeat("a", 107)
	c.LogsSocket, c.MetricsSocket = "l.sock", "m.sock"
	_, err := bootstrap.JSON(c)
	if err == nil {
		t.Fatal("was accepted")
	}
	for _, want := range []string{"default.web-1", "xDS socket: has no path", `"run/sds.sock": must be an absolute path`, "is 108 bytes long, the kernel takes 107", `logs socket "l.sock": must be`, `metrics socket "m.sock": must be`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q lacks %q", err, want)
		}
	}
	c = config("/run/weft")
	c.AdminSocket = "/" + strings.Repeat("a", 106)
	if _, err := bootstrap.JSON(c); err != nil {
		t.Errorf("the longest path the kernel takes: %v", err)
	}
}
