package agent

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pkg/agent/identity"
	"github.com/weft-mesh/weft/pkg/agent/relay"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// TestControlPlaneRemedy has each way of losing the control plane answered by
// what mends it.
func TestControlPlaneRemedy(t *testing.T) {
	tests := []struct{ name, words, want string }{
		{"down", `dial tcp 192.0.2.1:5678: connect: connection refused`, "is weft-cp up"},
		{"deleted", `dataplane "default.web-1" is not registered: start its agent: not found`, "registering this host again"},
		{"put out", `not authenticated: the Dataplane of this host was deleted on 2026-01-01 00:00:00 UTC: join this host again: ...`, "do what it says"},
		{"other names", `tls: failed to verify certificate: x509: certificate is valid for a, not b`, "--advertise"},
		{"other authority", `tls: failed to verify certificate: x509: certificate signed by unknown authority`, "authority was lost or exchanged"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := controlPlaneCheck(relay.SideStatus{LastError: tt.words}, identity.Status{}, time.Now())
			if c.OK || !strings.Contains(c.Text, tt.words) || !strings.Contains(c.Remedy, tt.want) {
				t.Errorf("got %+v, want the words, and %q in the remedy", c, tt.want)
			}
		})
	}
}

func TestRedirectionCheckCounts(t *testing.T) {
	cfg := Config{Redirect: true}
	missing := redirect.Difference{What: "table inet weft", Is: "missing"}
	for n, want := range map[int]string{1: "table inet weft is missing", 3: "table inet weft is missing, and 2 more"} {
		var differences []redirect.Difference
		for range n {
			differences = append(differences, missing)
		}
		if c := redirectionCheck(cfg, Status{Redirection: differences}, nil, time.Now()); c.OK || c.Text != want {
			t.Errorf("%d differences: %+v, want %q", n, c, want)
		}
	}
}

// TestSecondAgentTellsRemedies has whoever meets a running agent told which one,
// and both ways out.
func TestSecondAgentTellsRemedies(t *testing.T) {
	dir := t.TempDir()
	held, err := takeLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer held.release()
	_, err = takeLock(dir)
	if err == nil {
		t.Fatal("two locks on one folder")
	}
	for _, want := range []string{"pid ", filepath.Join(dir, "lock"), "stop it first", "--state-dir"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not have %q: %v", want, err)
		}
	}
}
