//go:build linux

package iptables

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// Renew gives the lease its time anew, in both families by one message. It
// changes no rule. Rules without FailOpen have nothing to renew.
func (e *Engine) Renew(ctx context.Context, r redirect.Rules) error {
	if err := r.Validate(); err != nil {
		return err
	}
	r = r.Normal()
	if !leased(r) {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err := send([]setChange{switches{table: r.Table}.turnOn(setLease, r.FailOpen)})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, setErrNoSet) {
		err = fmt.Errorf("%w: the table has no lease; apply the rules (%w)", redirect.ErrNotInForce, err)
	}
	return wrap("renew", r.Table, err)
}

// Remaining asks the kernel what the leases have left, in whole seconds.
func (e *Engine) Remaining(ctx context.Context, table string) (left redirect.Remaining, err error) {
	r := redirect.Rules{Table: table}
	if err := r.Validate(); err != nil {
		return left, err
	}
	if err := ctx.Err(); err != nil {
		return left, err
	}
	s, err := readSwitches(r.Normal().Table)
	if err != nil {
		return left, wrap("look at the leases of", table, err)
	}
	left.FailOpen, _ = s.on(setLease)
	left.Trial, _ = s.on(string(s.lit()))
	return left, nil
}
