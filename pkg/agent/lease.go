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
func (a *Agent) holdLease(ctx context.Context) error {
	leaser, ok := a.choice.redirector.(redirect.Leaser)
	if a.rules.FailOpen == 0 {
		return nil
	}
	if !ok {
		return fmt.Errorf("failOpen: this redirection engine has no leases: %w; set it to 0s", redirect.ErrNotSupported)
	}
	every := a.rules.FailOpen / renewals
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		rules, on, err := a.wanted()
		if err != nil {
			rules, on = a.rules, true // not to know is no reason to open
		}
		if on {
			a.leaseHeld(ctx, a.renew(ctx, leaser, rules, every))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// renew takes no longer than within.
func (a *Agent) renew(ctx context.Context, leaser redirect.Leaser, rules redirect.Rules, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if err := envoy.NewAdmin(a.cfg.adminSocket()).Ready(ctx); err != nil {
		return err
	}
	if err := answers(ctx, a.dns.Addrs()); err != nil {
		return err
	}
	return leaser.Renew(ctx, rules)
}

// leaseHeld tells when the lease begins and ceases to be renewed.
func (a *Agent) leaseHeld(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	a.mu.Lock()
	before := a.unwell
	a.unwell = err
	a.mu.Unlock()
	switch {
	case err != nil && before == nil:
		a.log.Warn("lease was not renewed, outbound and DNS open when it runs out", "lease", a.rules.FailOpen, "error", err)
	case err == nil && before != nil:
		a.log.Info("lease was renewed again")
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
