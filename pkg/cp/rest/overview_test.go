package rest

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// insightOf is of a proxy that refused a listener.
func insightOf(string, string) api.DataplaneInsight {
	at := time.Date(2026, 11, 23, 11, 2, 16, 0, time.UTC)
	return api.DataplaneInsight{
		Subscriptions: []api.Subscription{{
			ID: "s", ControlPlaneInstanceID: "i", ConnectTime: at,
			Status: api.SubscriptionStatus{
				LastUpdateTime: at, Total: api.Responses{Sent: 3, Acknowledged: 2, Rejected: 1}, LDS: api.Responses{Sent: 1, Rejected: 1},
			},
			Version: &api.ProxyVersion{Envoy: &api.Version{Version: "1.40.0"}},
		}},
		MTLS: &mesh.DataplaneMTLS{Expires: at, Regenerated: at, Regenerations: 2, IssuedBackend: "ca-1", SupportedBackends: []string{"ca-1"}},
		Weft: &api.Findings{
			Warnings: []api.Finding{{Part: "p", Text: "<w>"}},
			Refused:  []api.Refusal{{Type: "listeners", Resources: []string{"l"}, Reason: "no", At: at}},
			Problem:  "broken",
		},
	}
}

const insightText = `{
	"subscriptions": [{
		"id": "s", "controlPlaneInstanceId": "i", "connectTime": "TIME",
		"status": {
			"lastUpdateTime": "TIME", "total": {"responsesSent": "3", "responsesAcknowledged": "2", "responsesRejected": "1"},
			"cds": {}, "eds": {}, "lds": {"responsesSent": "1", "responsesRejected": "1"}, "rds": {}
		},
		"version": {"envoy": {"version": "1.40.0"}}
	}],
	"mTLS": {
		"certificateExpirationTime": "TIME", "lastCertificateRegeneration": "2026-11-23T11:02:16Z", "certificateRegenerations": 2,
		"issuedBackend": "ca-1", "supportedBackends": ["ca-1"]
	},
	"weft": {
		"warnings": [{"part": "p", "text": "<w>"}],
		"refused": [{"type": "listeners", "resources": ["l"], "reason": "no", "at": "2026-11-23T11:02:16Z"}],
		"problem": "broken"
	}
}`

func TestOverviews(t *testing.T) {
	planned := 0
	f := newFixture(t, func(s *Server) {
		s.KnownInsight = insightOf
		s.Insight = func(_ context.Context, in, name string) (api.DataplaneInsight, error) {
			planned++
			if name == "lost" {
				return api.DataplaneInsight{}, store.ErrNotFound
			}
			return insightOf(in, name), nil
		}
	})
	for name, service := range map[string]string{"api-1": "api", "web-1": "web", "lost": "lost"} {
		f.want(t, 201, "PUT", "/meshes/default/dataplanes/"+name, dataplane(name, service))
	}
	const meta = `"mesh": "default", "name": "web-1", "creationTime": "TIME", "modificationTime": "TIME", "kri": "kri_dp_default_default__web-1_",
		"labels": {"kuma.io/env": "universal", "kuma.io/mesh": "default", "kuma.io/origin": "zone", "kuma.io/proxy-type": "sidecar", "kuma.io/zone": "default"},`
	overview := `{"type": "DataplaneOverview", ` + meta + `
		"dataplane": {"networking": {"address": "192.0.2.1", "inbound": [{"port": 80, "tags": {"kuma.io/service": "web", "kuma.io/zone": "default", "version": "v1"}}]}},
		"dataplaneInsight": ` + insightText + `}`
	insight := `{"type": "DataplaneInsight", ` + meta + strings.TrimPrefix(insightText, "{")
	page := `{"total": 1, "next": null, "items": [` + overview + `]}`

	for path, want := range map[string]string{
		"/meshes/default/dataplanes/web-1/_overview":                   overview,
		"/meshes/default/dataplanes+insights/web-1":                    overview,
		"/meshes/default/dataplane-insights/web-1":                     insight,
		"/meshes/default/dataplanes/_overview?tag=kuma.io/service:web": page,
		"/meshes/default/dataplanes+insights?name=web":                 page,
		"/dataplanes/_overview?gateway=false&ingress=false&name=web":   page,
		"/dataplanes+insights?name=web-1":                              page,
	} {
		if d := cmp.Diff(parse(t, want), parse(t, f.want(t, 200, "GET", path, ""))); d != "" {
			t.Errorf("%s differs (-want +got):\n%s", path, d)
		}
	}
	if planned != 3 {
		t.Errorf("%d single looks, want 3: a list asks for what is known only", planned)
	}
	if names, p := f.listed(t, "/meshes/default/dataplanes/_overview?size=2"); len(names) != 2 || p.Total != 3 || p.Next == nil || !strings.Contains(*p.Next, "/_overview?offset=2") {
		t.Errorf("a page of two: %v of %d", names, p.Total)
	}
	for _, path := range []string{"dataplanes/absent/_overview", "dataplanes/lost/_overview", "dataplane-insights/absent", "dataplane-insights/lost"} {
		f.want(t, 404, "GET", "/meshes/default/"+path, "", cannotGet)
	}
	f.want(t, 404, "GET", "/meshes/absent/dataplanes/_overview", "")
	for _, method := range []string{http.MethodPut, http.MethodDelete} {
		if resp, _ := f.request(t, method, "/meshes/default/dataplane-insights/web-1", "{}"); resp.status != 405 {
			t.Errorf("%s of an insight answered %d", method, resp.status)
		}
	}
}
