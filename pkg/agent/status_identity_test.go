package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pkg/agent/identity"
)

// TestCertificateCheck goes through an outage, with and without grace.
func TestCertificateCheck(t *testing.T) {
	began := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	day := 24 * time.Hour
	made := func(heard time.Time, change func(*identity.Status)) identity.Status {
		s := identity.Status{
			Agent:    identity.Certificate{Expires: began.Add(30 * day)},
			Workload: identity.Certificate{URIs: []string{"spiffe://default/web"}, Expires: began.Add(7 * day), Renewal: began.Add(84 * time.Hour)},
			RidesOut: 84 * time.Hour, Registered: true, Heard: heard,
			GraceFrom: heard.Add(67 * time.Hour), GraceUntil: began.Add(3650 * day),
		}
		if change != nil {
			change(&s)
		}
		return s
	}
	closed := func(s *identity.Status) { s.FailClosed, s.GraceFrom, s.GraceUntil = true, time.Time{}, time.Time{} }
	tests := []struct {
		name  string
		s     identity.Status
		after time.Duration // began
		ok    bool
		words []string
		not   string
	}{
		{"well", made(began.Add(day), nil), day, true, []string{"good for 6d0h", "lasts at least 3d12h without a control plane"}, "no control plane for"},
		{"away for a while", made(began, nil), time.Hour, true, []string{"no control plane for 1h0m", "expired certificates of peers are let in"}, "EXPIRED"},
		{"away, closed", made(began, closed), time.Hour, true, []string{"no control plane for 1h0m: peers refuse this host from", "the mesh fails closed"}, "let in"},
		{"not renewed", made(began, nil), 4 * day, false, []string{"NOT RENEWED for want of a control plane since"}, ""},
		{"grace", made(began, func(s *identity.Status) { s.Grace = true }), 4 * day, false, []string{"EXPIRED CERTIFICATES OF PEERS ARE LET IN", "no control plane was heard for 4d0h", "until one is or the authority ends on 2036-"}, ""},
		{"expired", made(began, func(s *identity.Status) { s.Grace, s.Workload.Expired = true, true }), 8 * day, false, []string{"EXPIRED on 2026-06-08", "only peers that hear no control plane", "PEERS ARE LET IN"}, ""},
		{"expired, closed", made(began, func(s *identity.Status) { closed(s); s.Workload.Expired = true }), 8 * day, false, []string{"EXPIRED on 2026-06-08", "peers refuse this host, as the mesh fails closed"}, "let in"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := certificateCheck(tt.s, began.Add(tt.after))
			for _, w := range tt.words {
				if !strings.Contains(c.Text, w) {
					t.Errorf("%q lacks %q", c.Text, w)
				}
			}
			if c.OK != tt.ok || tt.not != "" && strings.Contains(c.Text, tt.not) {
				t.Errorf("ok %t: %q", c.OK, c.Text)
			}
		})
	}
}

func TestKeptKeysChecks(t *testing.T) {
	if c := keptKeysChecks(identity.Status{}, "/s"); c != nil {
		t.Errorf("all is well: %+v", c)
	}
	c := keptKeysChecks(identity.Status{Unsaved: "no space left", PassedOver: []string{"agent.pem: it has 3 bytes of 9"}}, "/s")
	if len(c) != 1 || c[0].OK || !strings.Contains(c[0].Text, "no space left") || !strings.Contains(c[0].Text, "passed over agent.pem") || !strings.Contains(c[0].Remedy, "/s") {
		t.Errorf("%+v", c)
	}
	if c := keptKeysChecks(identity.Status{PassedOver: []string{"x"}}, "/s"); len(c) != 1 || !c[0].OK {
		t.Errorf("%+v", c)
	}
}

func TestTLSCheck(t *testing.T) {
	c := tlsCheck(TLSStatus{Versions: map[string]int64{"TLSv1.3": 9, "TLSv1.2": 0}, KeyExchanges: map[string]int64{"X25519": 2, "X25519MLKEM768": 7}})
	if !c.OK || !strings.Contains(c.Text, "connections so far: TLSv1.3 9, X25519MLKEM768 7, X25519 2") {
		t.Errorf("%+v", c)
	}
}
