//go:build linux

package ebpf

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// A lease is a deadline in a map: rules that ask for it are in force until
// then, whoever is alive to see it. These are their keys.
const (
	lease uint32 = 0
	trial uint32 = 1
)

var _ redirect.Leaser = (*Engine)(nil)

// now is the time by which the programs judge, CLOCK_MONOTONIC.
func now() (uint64, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0, fmt.Errorf("ask for the time: %w", err)
	}
	return uint64(ts.Nano()), nil
}

func (p pinned) setLease(which uint32, d time.Duration) error {
	t, err := now()
	if err != nil {
		return err
	}
	if err := p["leases"].Put(which, t+uint64(d)); err != nil {
		return fmt.Errorf("write map leases: %w", err)
	}
	return nil
}

func (p pinned) left(which uint32) (time.Duration, error) {
	var deadline uint64
	if err := p["leases"].Lookup(which, &deadline); err != nil {
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return 0, nil
		}
		return 0, fmt.Errorf("read map leases: %w", err)
	}
	t, err := now()
	if err != nil || deadline <= t {
		return 0, err
	}
	return time.Duration(deadline - t), nil
}

// opened are the maps of a table that is in force, with its config; without
// one there are none.
func (e *Engine) opened(ctx context.Context, table string) (m pinned, c programConfig, ok bool, err error) {
	if err := errors.Join(ctx.Err(), permitted(netAdmin, sysAdmin)); err != nil {
		return nil, c, false, err
	}
	netns, _, err := namespace()
	if err != nil {
		return nil, c, false, err
	}
	m, ok, err = openMaps(place{bpffs: e.pins, table: table, netns: netns}.dir())
	if err != nil || !ok {
		return nil, c, false, err
	}
	c, ok, err = m.config()
	if err != nil || !ok {
		m.close()
		return nil, c, false, err
	}
	return m, c, true, nil
}

// Renew gives the lease its time anew, by one write. Rules without FailOpen
// have nothing to renew.
func (e *Engine) Renew(ctx context.Context, r redirect.Rules) error {
	if err := r.Validate(); err != nil {
		return err
	}
	r = r.Normal()
	if r.FailOpen == 0 {
		return nil
	}
	m, c, ok, err := e.opened(ctx, r.Table)
	if err != nil {
		return wrap("renew", r.Table, err)
	}
	if ok {
		defer m.close()
	}
	if !ok || c.Flags&hasLease == 0 {
		return wrap("renew", r.Table, fmt.Errorf("%w: there is no lease; apply the rules", redirect.ErrNotInForce))
	}
	return wrap("renew", r.Table, m.setLease(lease, r.FailOpen))
}

// Remaining reads what the leases have left.
func (e *Engine) Remaining(ctx context.Context, table string) (left redirect.Remaining, err error) {
	r := redirect.Rules{Table: table}
	if err := r.Validate(); err != nil {
		return left, err
	}
	table = r.Normal().Table
	m, c, ok, err := e.opened(ctx, table)
	if err != nil || !ok {
		return left, wrap("look at the leases of", table, err)
	}
	defer m.close()
	if c.Flags&hasLease != 0 {
		left.FailOpen, err = m.left(lease)
	}
	if c.Flags&hasTrial != 0 && err == nil {
		left.Trial, err = m.left(trial)
	}
	return left, wrap("look at the leases of", table, err)
}
