//go:build linux

package testmesh

import (
	"encoding/json"
	"testing"
	"time"
)

// Status is what tests read of weft-agent status -o json: of a host with one
// workload, whose status is the host's.
type Status struct {
	Well   bool
	Checks []struct {
		Name, Text, Remedy string
		OK                 bool
	}
	Envoy struct{ PID int }
	Kept  struct { // of the redirection
		Notified bool
		Looked   time.Time
		Mends    int
		Last     struct {
			At time.Time
			By string
		}
	}
	Identity struct {
		Workload struct {
			Expires time.Time
			Expired bool
		}
		Grace, FailClosed bool
		Authority         string // of the control plane, by whom the agent's certificate is
		Authorities       []string
		ControlPlane      string
		ControlPlanes     []string
		LastError         string
	}
	Relay struct {
		ControlPlane struct {
			Connected bool
			Since     time.Time
			LastError string
		}
	}
}

// Status is weft-agent status -o json of the host's first workload.
func (h *Host) Status(t testing.TB) Status {
	t.Helper()
	out, _ := h.Agent(t, "status", "-o", "json")
	var s struct{ Workloads []Status }
	if err := json.Unmarshal([]byte(out), &s); err != nil || len(s.Workloads) == 0 {
		t.Fatalf("status of %s: %v\n%s", h.Name, err, out)
	}
	return s.Workloads[0]
}
