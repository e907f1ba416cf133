package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pkg/agent/relay"
)

func TestSinceLastGood(t *testing.T) {
	lost := relay.SideStatus{Since: now}
	tests := []struct {
		name string
		r    relay.Status
		want string
	}{
		{"connected", relay.Status{Synced: true, ControlPlane: relay.SideStatus{Connected: true, Since: now}}, "x"},
		{"never had anything", relay.Status{}, "x"},
		{"lost", relay.Status{Synced: true, ControlPlane: lost}, "x; serving last-good since " + clock(now)},
		{"from disk", relay.Status{Cache: relay.CacheStatus{ServingSince: now, Saved: now.Add(-time.Hour)}}, "x; serving last-good since " + clock(now) + ", from disk, where it is of " + clock(now.Add(-time.Hour))},
	}
	for _, tt := range tests {
		if got := sinceLastGood(Check{Text: "x"}, tt.r).Text; got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestLastGoodChecks(t *testing.T) {
	if got := lastGoodChecks(relay.Status{}, "/state/xds"); got != nil {
		t.Errorf("where all is well: %v", got)
	}
	got := lastGoodChecks(relay.Status{Cache: relay.CacheStatus{Fault: "no space", PassedOver: []string{"set-3: cut"}}}, "/state/xds")
	if len(got) != 1 || got[0].OK || !strings.Contains(got[0].Text, "no space; passed over set-3: cut") || !strings.Contains(got[0].Remedy, "/state/xds") {
		t.Errorf("got %+v", got)
	}
	got = lastGoodChecks(relay.Status{Cache: relay.CacheStatus{PassedOver: []string{"set-3: cut"}}}, "/state/xds")
	if len(got) != 1 || !got[0].OK {
		t.Errorf("a file that was passed over is no fault that lasts: %+v", got)
	}
}
