//go:build linux

// Command ads measures a control plane under many proxies: it starts the real
// weft-cp on this machine, registers dataplanes over REST, holds a real gRPC
// stream over TLS for each of them, and prints what changes cost.
//
// Everything stays on loopback, every phase is bounded in count and time, and
// the control plane that it started ends with it. See docs/scale.md for the
// figures and for what they mean.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// A shape is the mesh that is played.
type shape struct {
	Proxies     int
	Services    int
	Outbounds   int  // services that each proxy lists; 0 with Transparent
	Transparent bool // every proxy sees every service
	World       int  // every how many-th stream speaks state of the world; 0: none
}

// config is what can be chosen.
type config struct {
	shape
	cp      string        // the binary
	envoy   string        // that of real Envoys among the proxies; "": none
	workers int           // REST connections
	rounds  int           // of each kind of change
	idle    time.Duration // how long to look at doing nothing
	churn   time.Duration // how long dataplanes come and go
	rate    int           // dataplanes a second that do
	bulk    int           // dataplanes of a mesh that nobody follows
	floors  bool
	verbose bool

	profiles string // folder
	only     string // of the phases after the start, with commas between; "" runs all
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "ads:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == floorCommand {
		return serveFloor(ctx, args[1:], stdout)
	}
	c := config{}
	fs := flag.NewFlagSet("ads", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.IntVar(&c.Proxies, "proxies", 1000, "dataplanes, each with a stream")
	fs.IntVar(&c.Services, "services", 100, "services that they offer in turn")
	fs.IntVar(&c.Outbounds, "outbounds", 5, "services that each lists in networking.outbound")
	fs.BoolVar(&c.Transparent, "transparent", false, "redirected hosts that see every service, and list none")
	fs.IntVar(&c.World, "world", 4, "every how many-th stream speaks state of the world; 0: none")
	fs.StringVar(&c.cp, "cp", "bin/weft-cp", "the control plane's binary")
	fs.StringVar(&c.envoy, "envoy", "", "Envoy's binary, to run three real ones among the proxies; default: none")
	fs.IntVar(&c.workers, "workers", 32, "REST connections")
	fs.IntVar(&c.rounds, "rounds", 20, "of each kind of change")
	fs.DurationVar(&c.idle, "idle", 60*time.Second, "how long to look at a control plane that has nothing to do; 0s: not")
	fs.DurationVar(&c.churn, "churn", 60*time.Second, "how long dataplanes come and go; 0s: not")
	fs.IntVar(&c.rate, "churn-rate", 50, "dataplanes a second that do")
	fs.IntVar(&c.bulk, "bulk", 10_000, "dataplanes to register besides, in a mesh that nobody follows; 0: none")
	fs.BoolVar(&c.floors, "floors", true, "measure the floors too")
	fs.StringVar(&c.only, "only", "", "the phases to run after the start, of endpoints, refusals, envoys, policies, idle, churn, bulk, torn; default: all")
	fs.StringVar(&c.profiles, "profiles", "", "folder for profiles of the control plane, <phase>.cpu and <phase>.heap")
	fs.BoolVar(&c.verbose, "v", false, "show the control plane's log")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if c.Proxies < 1 || c.Services < 1 || c.Outbounds >= c.Services || c.rounds < 1 || c.rate < 1 || c.workers < 1 {
		return fmt.Errorf("a mesh of %d proxies, %d services and %d outbounds makes no sense: there must be more services than outbounds", c.Proxies, c.Services, c.Outbounds)
	}
	if c.Transparent {
		c.Outbounds = 0
	}
	return c.measure(ctx, stdout, stderr)
}
