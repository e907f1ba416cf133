//go:build linux

package agent

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testnet"
)

// Two agents of one host keep apart: who comes second and would redirect what
// the first does is refused, before anything is touched.
func TestNeighboursKeepApart(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	first := joined(t, "--only=user:0")
	rules, err := first.Rules()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w := &Workload{cfg: first, rules: rules, log: slog.New(slog.DiscardHandler)}
	ended := make(chan error, 1)
	go func() { ended <- h.Do(func() error { return w.tellNeighbours(ctx) }) }()
	beside := []string{"--name=api-1", "--port=8081", "--redirect-table=weft-b", "--inbound-port=16006", "--outbound-port=16001", "--dns-port=16053"}
	try := func(args ...string) string {
		t.Helper()
		c := joined(t, append(beside, args...)...)
		rules, err := c.Rules()
		if err != nil {
			t.Fatal(err)
		}
		err = h.Do(func() error { return apart(t.Context(), rules, 0) })
		return fmt.Sprint(err)
	}
	deadline := time.Now().Add(testnet.Patience)
	for !strings.Contains(try(), "(pid ") && time.Now().Before(deadline) { // until it listens
	}
	for args, want := range map[string]string{
		"":                            "dataplane web-1 (pid ",
		"--only=user:0":               "calls of user 0;",
		"--only=user:1":               "<nil>",
		"--only=user:1 --port=8080":   "calls to port 8080;",
		"--only=user:1 --inbound=all": "calls to every port;",
		"--redirect-table=weft":       "<nil>", // it is the same agent's
	} {
		if got := try(strings.Fields(args)...); !strings.Contains(got, want) {
			t.Errorf("%q: %s, want %q", args, got, want)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := try(); got != "<nil>" {
		t.Errorf("the agent that has ended is heard of: %s", got)
	}
}
