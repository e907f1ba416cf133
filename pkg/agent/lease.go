package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/weft-mesh/weft/pkg/envoy"
	"github.com/weft-mesh/weft/pkg/proxy"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// renewals is how often a lease is renewed in its time, so that one renewal
// that comes late opens nothing.
const renewals = 3

// holdLease renews the lease of a fail-open host while Envoy and DNS are well,
// until ctx ends. It does not give the lease back then: what runs out is that
// nobody came.
func (w *Workload) holdLease(ctx context.Context) error {
	leaser, ok := w.choice.redirector.(redirect.Leaser)
	if w.cfg.FailOpen == 0 {
		return nil
	}
	if !ok {
		return fmt.Errorf("failOpen: this redirection engine has no leases: %w; set it to 0s", redirect.ErrNotSupported)
	}
	every := w.cfg.FailOpen / renewals
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		rules, on, err := w.wanted()
		if err != nil {
			rules, on = w.wish(), true // not to know is no reason to open
		}
		if on {
			w.leaseHeld(ctx, w.renew(ctx, leaser, rules, every))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// renew takes no longer than within.
func (w *Workload) renew(ctx context.Context, leaser redirect.Leaser, rules redirect.Rules, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if err := envoy.NewAdmin(w.cfg.adminSocket()).Ready(ctx); err != nil {
		return err
	}
	if err := answers(ctx, w.dns.Addrs()); err != nil {
		return err
	}
	return leaser.Renew(ctx, rules)
}

// leaseHeld tells when the lease begins and ceases to be renewed.
func (w *Workload) leaseHeld(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	before := w.unwell
	w.unwell = err
	w.mu.Unlock()
	switch {
	case err != nil && before == nil:
		w.log.Warn("lease was not renewed, outbound and DNS open when it runs out", "lease", w.cfg.FailOpen, "error", err)
	case err == nil && before != nil:
		w.log.Info("lease was renewed again")
	}
}

// answers asks the agent's DNS server at its first address for a name that it
// answers itself. Whatever it says, it is there.
func answers(ctx context.Context, addrs []netip.AddrPort) error {
	if len(addrs) == 0 {
		return errors.New("ask the agent's DNS server: it does not listen")
	}
	fail := func(err error) error { return fmt.Errorf("ask the agent's DNS server at %s: %w", addrs[0], err) }
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error { return markSocket(raw, proxy.MarkAgent) }}
	conn, err := d.DialContext(ctx, "udp", addrs[0].String())
	if err != nil {
		return fail(err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	query := dnsmessage.Message{
		Header: dnsmessage.Header{ID: 1, RecursionDesired: true},
		Questions: []dnsmessage.Question{{
			Name: dnsmessage.MustNewName("weft-agent." + proxy.Domain + "."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET,
		}},
	}
	packed, err := query.Pack()
	if err != nil {
		return fail(err)
	}
	if _, err := conn.Write(packed); err != nil {
		return fail(err)
	}
	if _, err := conn.Read(make([]byte, 512)); err != nil {
		return fail(err)
	}
	return nil
}
