//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/testmesh"
)

// often is a health check that knows soon.
const often = `interval: 200ms
timeout: 3s
unhealthyThreshold: 2
healthyThreshold: 1
noTrafficInterval: 200ms
`

// sick has a host answer its health check with the status, and all else well.
func sick(b *backend, status int) {
	b.does(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/health") {
			w.WriteHeader(status)
		}
	})
}

func (f *fleet) healthCheck(t *testing.T) {
	// What a check looks like is told by the page that it asks for.
	told := make(chan echo, 1)
	f.api[2].does(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" {
			select {
			case told <- echo{Host: r.Host, Headers: r.Header, Query: r.URL.RawQuery}:
			default:
			}
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_ = json.NewEncoder(w).Encode(echo{Version: "v3"})
	})
	defer f.all(nil)
	sick(f.api[1], http.StatusNoContent)
	sick(f.api[0], http.StatusNoContent)
	defer f.policy(t, "HealthCheck", "h", often+`eventLogPath: `+f.events()+`
alwaysLogHealthCheckFailures: true
healthyPanicThreshold: 0
http:
  path: /health?full=yes
  requestHeadersToAdd: [{header: {key: x-check, value: weft}, append: false}]
  expectedStatuses: [204]`)()
	f.await(t, "api", `"/health?full=yes"`)
	f.awaitStat(t, "cluster.api.membership_healthy", 3)
	if e := <-told; e.Host != "api" || e.Query != "full=yes" || e.Headers.Get("X-Check") != "weft" {
		t.Errorf("a check looks like %+v", e)
	}
	sick(f.api[0], http.StatusOK) // which is not 204
	f.awaitStat(t, "cluster.api.membership_healthy", 2)
	f.awaitShare(t, "v1", 0)
	sick(f.api[0], http.StatusNoContent)
	f.awaitStat(t, "cluster.api.membership_healthy", 3)
	f.awaitShare(t, "v1", 20)
}

// events is where web's Envoy writes what it finds out about health.
func (f *fleet) events() string { return filepath.Join(f.web.Dir, "events.log") }

// healthEvents looks into that. Envoy writes every 10 s, so it is for the end.
func (f *fleet) healthEvents(t *testing.T) {
	testmesh.Eventually(t, "the log of events tells who fell ill", func() error {
		text, err := os.ReadFile(f.events())
		if err == nil && (!strings.Contains(string(text), "eject_unhealthy_event") || !strings.Contains(string(text), f.api[0].IP4.String())) {
			err = fmt.Errorf("it says %s", text)
		}
		return err
	})
}

// awaitShare waits until a host has its share of 60 calls: Envoy gathers
// changes of health for up to a second.
func (f *fleet) awaitShare(t *testing.T, version string, want int) {
	t.Helper()
	testmesh.Eventually(t, fmt.Sprintf("%s is called %d times of 60", version, want), func() error {
		if got := f.shares(t, 60); got[version] != want {
			return fmt.Errorf("calls %v", got)
		}
		return nil
	})
}

func (f *fleet) panicThreshold(t *testing.T) {
	for _, b := range f.api {
		sick(b, http.StatusServiceUnavailable)
	}
	defer f.all(nil)
	for _, c := range []struct {
		name, conf, text string
		want             string
	}{
		{"health is not looked at", "", `!"healthy_panic_threshold"`, "200"},
		{"unless the threshold is 0", "healthyPanicThreshold: 0\n", `"healthy_panic_threshold"`, "503"},
		{"or traffic is to fail", "failTrafficOnPanic: true\n", `"fail_traffic_on_panic":true`, "503"},
	} {
		t.Run(c.name, func(t *testing.T) {
			undo := f.policy(t, "HealthCheck", "h", often+c.conf+"http: {path: /health}")
			f.await(t, "api", `"/health"`, c.text)
			f.awaitStat(t, "cluster.api.membership_healthy", 0)
			testmesh.Eventually(t, "all answers are "+c.want, func() error {
				if got := testmesh.Call(t, f.rt, fleetURL+"/", 30); got[c.want] != 30 {
					return fmt.Errorf("they are %v", got)
				}
				return nil
			})
			undo()
			f.await(t, "api", `!"health_checks"`)
		})
	}
}
