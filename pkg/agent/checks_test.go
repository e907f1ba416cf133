package agent

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pkg/agent/identity"
	"github.com/weft-mesh/weft/pkg/agent/relay"
	"github.com/weft-mesh/weft/pkg/envoy"
	"github.com/weft-mesh/weft/pkg/redirect"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestChecks(t *testing.T) {
	serving := envoy.Status{PID: 7, Since: now.Add(-90 * time.Second), Restarts: 2}
	synced := relay.Status{Synced: true, Envoy: relay.SideStatus{Connected: true}}
	refused := synced
	refused.Kinds = []relay.KindStatus{{Kind: "listeners", Refused: []relay.Refusal{{Name: "inbound:x", Words: "cannot bind"}}}}
	cert := identity.Certificate{URIs: []string{"spiffe://default/web"}, Renewal: now.Add(84 * time.Hour), Expires: now.Add(168 * time.Hour)}
	old := cert
	old.Expires, old.Expired = now.Add(-time.Hour), true

	redirected := joined(t, "--redirect")
	tests := []struct {
		name string
		got  Check
		ok   bool
		want string
	}{
		{"redirection in force", redirectionCheck(redirected, Status{}, nil, now), true, "in force"},
		{"redirection by an engine", redirectionCheck(joined(t, "--redirect", "--only=user:app,unit:api.service", "--inbound=all", "--forwarded=docker0"), Status{Engine: Choice{Engine: "nftables", Why: "as configured"}}, nil, now), true,
			"in force by nftables (as configured), table weft: inbound to all ports, outbound TCP, DNS of user:app, unit:api.service, and what is forwarded from docker0"},
		{"redirection off", redirectionCheck(joined(t, "--redirect=false"), Status{}, nil, now), true, "off, as configured"},
		{"redirection differs", redirectionCheck(redirected, Status{Redirection: []redirect.Difference{{What: "table inet weft", Is: "missing"}}}, nil, now), false, "table inet weft is missing"},
		{"redirection failed", redirectionCheck(redirected, Status{}, errors.New("no netfilter"), now), false, "no netfilter"},
		{"redirection removed", redirectionCheck(redirected, Status{Switch: Switch{Off: now}}, nil, now), false, "off since " + now.Local().Format(time.DateTime) + ", by weft-agent redirect remove"},
		{"redirection on trial", redirectionCheck(redirected, Status{Switch: Switch{Trial: now.Add(time.Minute)}}, nil, now), true, "on trial until " + now.Add(time.Minute).Local().Format(time.DateTime)},
		{"redirection not confirmed", redirectionCheck(redirected, Status{Switch: Switch{Trial: now.Add(-time.Minute)}}, nil, now), false, "as nobody confirmed it in time"},
		{"redirection mended", redirectionCheck(redirected, Status{Kept: redirect.Kept{Mends: 3, Last: redirect.Mend{At: now.Add(-time.Minute), By: "nft (pid 7)"}}}, nil, now), true, "mended 3 times, last 1m0s ago after nft (pid 7)"},
		{"redirection under a lease", redirectionCheck(redirected, Status{Lease: LeaseStatus{For: 30 * time.Second, Left: time.Second}}, nil, now), true, "in force"},
		{"redirection open", redirectionCheck(redirected, Status{Lease: LeaseStatus{For: 30 * time.Second, Unwell: "Envoy is away"}}, nil, now), false, "nobody has renewed the lease of 30s: Envoy is away"},
		{"redirection undone", redirectionCheck(redirected, Status{Kept: redirect.Kept{Mends: 9, PausedUntil: now.Add(time.Minute)}}, nil, now), false, "the next mend is in 1m0s"},
		{"Envoy serves", envoyCheck(serving, synced, "1.40.0", now), true, "1.40.0 serves (pid 7) for 1m30s, restarted 2 times"},
		{"Envoy is gone", envoyCheck(envoy.Status{LastExit: "signal: killed"}, synced, "1.40.0", now), false, "signal: killed"},
		{"Envoy refuses", envoyCheck(serving, refused, "1.40.0", now), false, "listeners inbound:x (cannot bind)"},
		{"Envoy waits", envoyCheck(serving, relay.Status{Envoy: relay.SideStatus{Connected: true}}, "1.40.0", now), false, "waits for its configuration"},
		{"Envoy has not asked", envoyCheck(serving, relay.Status{}, "1.40.0", now), false, "has not asked"},
		{"certificate", certificateCheck(identity.Status{Workload: cert, RidesOut: 84 * time.Hour}, now), true, "good for 7d0h, renewed in 3d12h; lasts at least 3d12h without a control plane"},
		{"certificate expired", certificateCheck(identity.Status{Workload: old}, now), false, "EXPIRED on"},
		{"none yet", certificateCheck(identity.Status{}, now), false, "none yet"},
		{"mesh without mTLS", certificateCheck(identity.Status{Registered: true}, now), true, "no mTLS"},
		{"agent's own expired", certificateCheck(identity.Status{Agent: old, Workload: cert}, now), false, "the agent's own has expired"},
		{"connected", controlPlaneCheck(relay.SideStatus{Connected: true, Since: now.Add(-time.Hour)}, identity.Status{}, now), true, "connected for 1h0m"},
		{"away", controlPlaneCheck(relay.SideStatus{Since: now.Add(-time.Hour), LastError: "connection refused"}, identity.Status{}, now), false, "not connected for 1h0m: connection refused"},
		{"not taken", controlPlaneCheck(relay.SideStatus{Connected: true, Since: now}, identity.Status{LastError: "tag team is missing"}, now), false, "tag team is missing"},
	}
	for _, clock := range []struct {
		name          string
		ahead, within time.Duration
		err           error
		ok            bool
		want          string
	}{
		{"clock", 30 * time.Second, time.Second, nil, true, "differs from the control plane's by 30s"},
		{"clock nobody can be sure of", 63 * time.Second, 5 * time.Second, nil, true, "by 1m3s"},
		{"clock ahead", time.Hour, time.Second, nil, false, "this host's is 1h0m0s ahead of the control plane's"},
		{"clock behind", -24 * time.Hour, time.Second, nil, false, "this host's is 24h0m0s behind the control plane's"},
		{"clock of before the certificates", 0, 0, errors.New("x509: certificate has expired or is not yet valid"), false, "this host's is behind"},
	} {
		got := clockCheck(clock.ahead, clock.within, clock.err)
		if len(got) != 1 {
			t.Fatalf("%s: %d checks", clock.name, len(got))
		}
		tests = append(tests, struct {
			name string
			got  Check
			ok   bool
			want string
		}{clock.name, got[0], clock.ok, clock.want})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.got.OK != tt.ok || !strings.Contains(tt.got.Text, tt.want) {
				t.Errorf("got %+v, want ok %t and %q", tt.got, tt.ok, tt.want)
			}
			if !tt.got.OK && tt.got.Remedy == "" {
				t.Error("there is no remedy")
			}
		})
	}
}

func TestOneFaultIsEnough(t *testing.T) {
	if s := (Status{Checks: []Check{{OK: true}, {OK: true}}}).judged(); !s.Well {
		t.Error("all is well, but not the whole")
	}
	if s := (Status{Checks: []Check{{OK: true}, {OK: false}}}).judged(); s.Well {
		t.Error("one check is not OK, but the whole is well")
	}
}
