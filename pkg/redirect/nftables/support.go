//go:build linux

package nftables

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// explain turns what the kernel says about rights and abilities into the words
// of package redirect.
func explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: it takes CAP_NET_ADMIN in this network namespace; run as root (%w)", redirect.ErrNotPermitted, err)
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EAFNOSUPPORT):
		return fmt.Errorf("%w: the kernel has no nf_tables (CONFIG_NF_TABLES_INET, Linux 5.9 or newer); use the iptables engine (%w)", redirect.ErrNotSupported, err)
	}
	return err
}

// transient says that another writer came between our reading and our writing.
func transient(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EBUSY) ||
		errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR)
}

// refused says that the kernel does not know something that we sent.
func refused(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) ||
		errors.Is(err, unix.ENOPROTOOPT)
}

// diagnose finds out which rule the kernel refuses, after it refused them all.
// try is probe; it is given so that a kernel that lacks something can be played.
func diagnose(want ruleset, err error, try func(want ruleset, chain string, r rule) error) error {
	if !refused(err) {
		return err
	}
	for _, c := range want.chains {
		for _, r := range c.rules {
			if e := try(want, c.name, r); refused(e) {
				return fmt.Errorf("rule %q: %w: the kernel does not take %q; it needs %s, else use the iptables engine (%w)",
					r.name, redirect.ErrNotSupported, r.text(), r.needs(), e)
			}
		}
	}
	return fmt.Errorf("%w: the kernel takes each rule but not all of them; it needs Linux 5.9 or newer, else use the iptables engine (%w)", redirect.ErrNotSupported, err)
}

// Probe puts all that rules need into a table that the same transaction deletes
// again, so that nobody ever sees it.
func (e *Engine) Probe(ctx context.Context, r redirect.Rules) error {
	if err := r.Validate(); err != nil {
		return err
	}
	want, err := wish(r)
	if err != nil {
		return wrap("probe", r.Normal().Table, err)
	}
	want.table = probeTable
	for attempt := 1; ; attempt++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := commit(want.table, func(t *transaction) error {
			if err := t.replace(want, held{}); err != nil {
				return err
			}
			t.deleteTable()
			return nil
		})
		if err == nil || !transient(err) || attempt == applyAttempts {
			return wrap("probe", r.Normal().Table, diagnose(want, err, probe))
		}
	}
}

// probeTable is in nobody's sight: it never outlives its transaction.
const probeTable = "weft-probe"

// probe puts one rule into a table that the same transaction deletes again, so
// that nobody ever sees it.
func probe(want ruleset, chain string, r rule) error {
	want.table, want.chains = probeTable, slices.Clone(want.chains)
	for i := range want.chains {
		want.chains[i].rules = nil
		if want.chains[i].name == chain {
			want.chains[i].rules = []rule{r}
		}
	}
	return commit(want.table, func(t *transaction) error {
		if err := t.replace(want, held{}); err != nil {
			return err
		}
		t.deleteTable()
		return nil
	})
}

func (r rule) needs() string {
	needs := []string{"CONFIG_NF_TABLES_INET"}
	for _, p := range r.parts {
		if p.needs != "" {
			needs = append(needs, p.needs)
		}
	}
	return strings.Join(needs, ", ")
}
