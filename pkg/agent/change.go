package agent

import (
	"context"
	"os"
	"slices"

	"github.com/spf13/pflag"

	"github.com/weft-mesh/weft/pkg/envoy"
)

// moved tells whether c differs from what is in force in settings of that
// effect.
func (w *Workload) moved(c Config, what effect) (is bool) {
	before := w.now.Load()
	differ := func(before, after *pflag.FlagSet, of []string) {
		after.VisitAll(func(f *pflag.Flag) {
			old := before.Lookup(f.Name)
			if old != nil && effects[f.Name] == what && old.Value.String() != f.Value.String() && (of == nil || slices.Contains(of, f.Name)) {
				is = true
			}
		})
	}
	differ(before.flags, c.flags, nil)
	if c.listed {
		differ(before.host, c.host, hostSettings)
	}
	return is
}

// change prepares what of c can change at run time, and fails where this host
// cannot have it. What it returns puts it in force: the Dataplane first, so that
// Envoy knows of it when traffic comes by other rules.
func (w *Workload) change(ctx context.Context, c Config) (func(context.Context), error) {
	next := w.cfg
	next.Port, next.Protocol, next.Tags, next.Address, next.ServiceAddress, next.Outbounds = c.Port, c.Protocol, c.Tags, c.Address, c.ServiceAddress, c.Outbounds
	next.MetricsPort, next.Scrape, next.ProbePort, next.Probes = c.MetricsPort, c.Scrape, c.ProbePort, c.Probes
	next.Only, next.Inbound, next.InboundMethod, next.Forwarded = c.Only, c.Inbound, c.InboundMethod, c.Forwarded
	next.ExcludeOutbound, next.ExcludeInbound, next.Resolvers, next.CaptureSSH = c.ExcludeOutbound, c.ExcludeInbound, c.Resolvers, c.CaptureSSH
	next.Envoy, next.EnvoyConcurrency, next.EnvoyLogLevel, next.EnvoyMemory, next.EnvoyFiles = c.Envoy, c.EnvoyConcurrency, c.EnvoyLogLevel, c.EnvoyMemory, c.EnvoyFiles
	next.EnvoyUser, next.DrainTime, next.ChangeTime = c.EnvoyUser, c.DrainTime, c.ChangeTime
	next.flags, next.host = c.flags, c.host
	envoyToo, others := w.moved(c, movesEnvoy), w.moved(c, moves)
	user := w.user.Load()
	if envoyToo {
		var err error
		if user, err = next.envoyUser(); err != nil {
			return nil, err
		}
		if _, err := envoy.CheckAs(ctx, next.envoyBinary(), user); err != nil {
			return nil, err
		}
	}
	rules, err := next.Rules()
	if err != nil {
		return nil, err
	}
	address, err := next.address()
	if err != nil {
		return nil, err
	}
	if w.cfg.Redirect {
		if err := apart(ctx, rules, os.Getpid()); err != nil {
			return nil, err
		}
		if err := w.choice.probe(ctx, rules); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context) {
		w.mu.Lock()
		w.rules, w.address = rules, address
		w.mu.Unlock()
		w.now.Store(&next)
		if envoyToo {
			if err := w.runAs(user); err != nil {
				w.log.Error("what is Envoy's could not be given to its user", "user", user.String(), "error", err)
			}
			w.envoy.Change(w.envoyConfig(&next))
		}
		if !others {
			return
		}
		w.lookAgain()
		if err := w.tellDataplane(ctx, registerTime); err != nil && ctx.Err() == nil {
			w.log.Warn("changed dataplane was not registered, trying on", "error", err)
		}
		offer(w.changed, struct{}{})
	}, nil
}

// offer puts v into ch (capacity 1), replacing what nobody has taken yet.
func offer[T any](ch chan T, v T) {
	select {
	case <-ch:
	default:
	}
	ch <- v
}
