package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/weft-mesh/weft/pkg/api"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"weftctl": main})
}

type planeKey struct{}

// Each script has a control plane of its own: WEFT_SERVER is its socket, which
// needs no token; $TCP its port, which needs one.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			open := newFakePlane(true)
			socket := filepath.Join(env.WorkDir, "s")
			l, err := net.Listen("unix", socket)
			if err != nil {
				return err
			}
			srv := &http.Server{Handler: open}
			go func() { _ = srv.Serve(l) }()
			env.Defer(func() { _ = srv.Close() })
			tcp := httptest.NewServer(newFakePlane(false))
			env.Defer(tcp.Close)
			env.Setenv("WEFT_SERVER", "unix://"+socket)
			env.Setenv("TCP", tcp.URL)
			env.Values[planeKey{}] = open
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"state":     printState,
			"jointoken": printJoinToken,
			"exits":     exits,
		},
	})
}

// state prints what the control plane of the socket holds.
func printState(ts *testscript.TestScript, _ bool, _ []string) {
	fmt.Fprint(ts.Stdout(), ts.Value(planeKey{}))
}

// jointoken FILE prints what a join token says.
func printJoinToken(ts *testscript.TestScript, _ bool, args []string) {
	t, err := api.ParseJoinToken(ts.ReadFile(args[0]))
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%s\n%s\n%s\n", t.Addresses, t.Authority, t.Token)
}

// exits CODE weftctl ARGS... wants that exit code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	got := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		got = fmt.Sprint(err)
	}
	if want := map[string]string{"0": "0", "1": "exit status 1", "2": "exit status 2"}[args[0]]; got != want {
		ts.Fatalf("%q ended with %q, want %q", args[1:], got, want)
	}
}

func TestAge(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		0: "0s", -time.Second: "0s", 1500 * time.Millisecond: "1s", 119 * time.Second: "119s", 2 * time.Minute: "2m",
		119 * time.Minute: "119m", 2 * time.Hour: "2h", 47 * time.Hour: "47h", 48 * time.Hour: "2d", 1000 * 24 * time.Hour: "1000d",
	} {
		if got := age(now.Add(-d), now); got != want {
			t.Errorf("%v ago: %s, want %s", d, got, want)
		}
	}
	if got := age(time.Time{}, now); got != "unknown" {
		t.Errorf("no time: %s", got)
	}
}

func TestHostPorts(t *testing.T) {
	got, err := hostPorts([]string{"cp.example", "10.0.0.1:99", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:99"})
	want := []string{"cp.example:5678", "10.0.0.1:99", "[2001:db8::1]:5678", "[2001:db8::1]:5678", "[2001:db8::1]:99"}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for _, a := range []string{"", ":5678", "a:0", "a:65536", "a:http", "https://a", "a b", "a:b:c"} {
		if got, err := hostPorts([]string{a}); err == nil {
			t.Errorf("%q is taken as %q", a, got)
		}
	}
}
