//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/agent"
	"github.com/weft-mesh/weft/pkg/agent/dns"
	"github.com/weft-mesh/weft/pkg/proxy"
)

func TestMain(m *testing.M) {
	if was, code := agent.ProbeChild(); was {
		os.Exit(code)
	}
	testscript.Main(m, map[string]func(){"weft-agent": main})
}

type hostKey struct{}

type host struct {
	*testnet.Host
	t testing.TB
}

// Each script has a host of its own, 198.51.100.10, beside another. Commands of
// the scripts are weft-agent's, run there as its user types them.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata",
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(env *testscript.Env) error {
			t := env.T().(testing.TB)
			h := host{testnet.Hosts(t, 2)[0], t}
			env.Values[hostKey{}] = h
			env.Setenv("NETNS", h.Path())
			sleeper := h.Command(t.Context(), "sleep", "600")
			if err := h.Start(sleeper); err != nil {
				return err
			}
			env.Defer(func() { _, _ = sleeper.Process.Kill(), sleeper.Wait() })
			env.Setenv("SLEEPER", fmt.Sprint(sleeper.Process.Pid))
			state := filepath.Join(env.WorkDir, "state")
			env.Setenv("WEFT_STATE_DIR", state)
			env.Setenv("WEFT_RUN_DIR", "/run/weft-agent")
			return os.Mkdir(state, 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"agent":  runAgent,
			"onhost": onHost,
			"play":   play,
		},
	})
}

// agent CODE ARGS... runs weft-agent on the host and wants that exit code.
func runAgent(ts *testscript.TestScript, _ bool, args []string) {
	got := "0"
	typed := append([]string{"--net=" + ts.Getenv("NETNS"), "weft-agent"}, args[1:]...)
	if err := ts.Exec("nsenter", append(typed, "--config", ts.MkAbs("agent.yaml"))...); err != nil {
		got = fmt.Sprint(err)
	}
	if want := map[string]string{"0": "0", "1": "exit status 1", "2": "exit status 2"}[args[0]]; got != want {
		ts.Fatalf("%q ended with %q, want %q", args[1:], got, want)
	}
}

// onhost ARGS... runs a program on the host.
func onHost(ts *testscript.TestScript, neg bool, args []string) {
	if err := ts.Exec("nsenter", append([]string{"--net=" + ts.Getenv("NETNS")}, args...)...); (err != nil) != neg {
		ts.Fatalf("%q: %v", args, err)
	}
}

// play has proxy and agent's DNS server listen on the host; with an address, only that.
func play(ts *testscript.TestScript, _ bool, args []string) {
	h := ts.Value(hostKey{}).(host)
	if len(args) > 0 {
		h.holds(args[0])
		return
	}
	for _, at := range []string{"0.0.0.0:15006", "[::]:15006", "127.0.0.1:15001", "[::1]:15001", "0.0.0.0:8080"} {
		h.holds(at)
	}
	server := dns.New(dns.Config{Mark: proxy.MarkAgent, ResolvConf: ts.MkAbs("agent.yaml")})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Do(func() error { return server.Run(ctx) }) }()
	ts.Defer(func() {
		stop()
		ts.Check(<-done)
	})
	<-server.Ready()
}

// holds takes connections and says nothing. What listens at the inbound port is
// transparent, as Envoy is.
func (h host) holds(at string) {
	var opts []testnet.Option
	if strings.HasSuffix(at, ":15006") {
		opts = append(opts, testnet.Transparent())
	}
	l := h.Listen(h.t, at, opts...)
	go func() {
		for {
			c, err := l.TCPListener.Accept()
			if err != nil {
				return
			}
			h.t.Cleanup(func() { _ = c.Close() })
		}
	}()
}
