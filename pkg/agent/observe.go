package agent

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/pkg/agent/accesslog"
	"github.com/weft-mesh/weft/pkg/agent/metrics"
	"github.com/weft-mesh/weft/pkg/envoy"
	"github.com/weft-mesh/weft/pkg/proxy"
)

func (c *Config) logsSocket() string    { return filepath.Join(c.RunDir, "logs.sock") }
func (c *Config) metricsSocket() string { return filepath.Join(c.RunDir, "metrics.sock") }

// observers makes the parts that tell what Envoy sees.
func (w *Workload) observers() {
	w.logs = accesslog.New(accesslog.Config{
		Socket: w.cfg.logsSocket(), UID: w.envoyUID(),
		Dial: func(ctx context.Context, address string) (net.Conn, error) { return dialOut(ctx, "tcp", address) },
		Log:  w.log.With("part", "accesslog"),
	})
	w.metrics = metrics.New(metrics.Config{
		Socket: w.cfg.metricsSocket(), UID: w.envoyUID(),
		Envoy: func(ctx context.Context, filter string, usedOnly bool) (io.ReadCloser, error) {
			return envoy.NewAdmin(w.cfg.adminSocket()).Prometheus(ctx, filter, usedOnly)
		},
		Own:  w.registry(),
		Dial: dialOut,
		Log:  w.log.With("part", "metrics"),
	})
}

// dialOut connects around the redirection, unless the address is a service's:
// that can be reached through the mesh alone.
func dialOut(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Control: func(_, to string, raw syscall.RawConn) error {
		if at, err := netip.ParseAddrPort(to); err == nil && isVIP(at.Addr()) {
			return nil
		}
		return markSocket(raw, proxy.MarkAgent)
	}}
	return d.DialContext(ctx, network, address)
}

// mark is that of the agent's own sockets. Where nothing is redirected, none is
// needed, and none is set that would take a capability.
func (c *Config) mark() uint32 {
	if !c.Redirect && !canMark() {
		return 0
	}
	return proxy.MarkAgent
}

func isVIP(a netip.Addr) bool {
	return proxy.VIP4.Contains(a.Unmap()) || proxy.VIP6.Contains(a)
}

// registry holds what the agent itself tells in scrapes.
func (w *Workload) registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	gauge := func(name, help string, value func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	is := func(name, help string, value func() bool) {
		gauge(name, help, func() float64 {
			if value() {
				return 1
			}
			return 0
		})
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{Name: "weft_agent_info", Help: "1, with the agent's version.", ConstLabels: prometheus.Labels{"version": w.version}})
	info.Set(1)
	//nolint:staticcheck // the package that has it now links database/sql
	process := prometheus.NewProcessCollector(prometheus.ProcessCollectorOpts{Namespace: "weft_agent"})
	r.MustRegister(w.logs, info, process)
	is("weft_agent_control_plane_connected", "1 while the agent has a stream to its control plane.", func() bool { return w.relay.Status().ControlPlane.Connected })
	is("weft_agent_grace", "1 while expired certificates of peers are let in, as there is no control plane.", func() bool { return w.identity.Status().Grace })
	is("weft_agent_not_on_disk", "1 while the newest certificates or configuration are in memory alone.", func() bool {
		return w.identity.Status().Unsaved != "" || w.relay.Status().Cache.Fault != ""
	})
	gauge("weft_agent_refused_resources", "How many resources Envoy refuses now.", func() float64 { return float64(len(refusals(w.relay.Status()))) })
	gauge("weft_agent_certificate_expiry_timestamp_seconds", "When the workload's certificate expires, in seconds since 1970; 0: there is none.", func() float64 {
		if at := w.identity.Status().Workload.Expires; !at.IsZero() {
			return float64(at.Unix())
		}
		return 0
	})
	gauge("weft_agent_redirection_mends", "How often the agent mended the redirection since it started.", func() float64 { return float64(w.keeper.Kept().Mends) })
	gauge("weft_agent_envoy_out_of_memory", "How often the kernel killed Envoy for want of memory since the agent started.", func() float64 { return float64(w.envoy.Status().OutOfMemory) })
	gauge("weft_agent_envoy_restarts", "How often Envoy was started again since the agent started.", func() float64 { return float64(w.envoy.Status().Restarts) })
	return r
}

// runEnvoy runs Envoy, and takes its lines as long as it says something.
func (w *Workload) runEnvoy(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	logs, end := context.WithCancel(context.WithoutCancel(ctx))
	g.Go(func() error { return w.logs.Run(logs) })
	g.Go(func() error {
		defer end()
		return w.envoy.Run(ctx)
	})
	return g.Wait()
}

// logChecks tell of access logs that do not get where they should.
func logChecks(sinks []accesslog.Status, now time.Time) (checks []Check) {
	for _, s := range sinks {
		c := Check{Name: "access log", OK: s.Failing.IsZero(), Text: fmt.Sprintf("%s: %d lines sent", s.Sink, s.Sent)}
		if s.Dropped > 0 {
			c.Text += fmt.Sprintf(", %d dropped", s.Dropped)
		}
		if !c.OK {
			c.Text += fmt.Sprintf("; not written for %s: %s", ago(now, s.Failing), s.Error)
			c.Remedy = "see that the destination of the mesh's logging can be had from this host; traffic goes on meanwhile, and lines wait as long as they fit"
		}
		checks = append(checks, c)
	}
	return checks
}
