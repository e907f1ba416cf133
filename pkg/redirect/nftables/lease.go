//go:build linux

package nftables

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// A lease is a set whose elements, the protocols TCP and UDP, run out in the
// kernel. A rule that asks for them is in force as long as they are there,
// whoever is alive to see it.
const (
	setLease = "lease"
	setTrial = "trial"
)

func timed(set string) bool { return set == setLease || set == setTrial }

// trial is the set of rules that are to be confirmed.
func (rs ruleset) trial() (set, bool) {
	i := slices.IndexFunc(rs.sets, func(s set) bool { return s.name == setTrial })
	if i < 0 {
		return set{}, false
	}
	return rs.sets[i], true
}

func leaseSet(name string, d time.Duration) set {
	s := set{name: name, kind: typeLease}
	for _, p := range []transport{tcp, udp} {
		s.elements = append(s.elements, nftables.SetElement{Key: []byte{p.num}, Timeout: d})
		s.text = append(s.text, p.name+" timeout "+leaseText(d))
	}
	return s
}

// leaseText is a time as nft reads it.
func leaseText(d time.Duration) string {
	text := fmt.Sprintf("%ds", d/time.Second)
	if ms := d % time.Second / time.Millisecond; ms != 0 {
		text += fmt.Sprintf("%dms", ms)
	}
	return text
}

var _ redirect.Leaser = (*Engine)(nil)

// Renew gives the lease its time anew. It changes elements of one set, in one
// transaction, and no rule. Rules without FailOpen have nothing to renew.
func (e *Engine) Renew(ctx context.Context, r redirect.Rules) error {
	if err := r.Validate(); err != nil {
		return err
	}
	r = r.Normal()
	if r.FailOpen == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err := commit(r.Table, func(t *transaction) error { return t.renew(leaseSet(setLease, r.FailOpen)) })
	if errors.Is(err, unix.ENOENT) {
		err = fmt.Errorf("%w: the table has no lease; apply the rules (%w)", redirect.ErrNotInForce, err)
	}
	return wrap("renew", r.Table, err)
}

// renew writes the elements anew. Before Linux 6.12 adding one that is there
// leaves its time as it was, and deleting one that has run out fails: so it is
// added, deleted and added, of which packets see only the outcome.
func (t *transaction) renew(s set) error {
	bare := leaseSet(s.name, 0).elements
	for _, step := range []func() error{
		func() error { return t.conn.SetAddElements(t.set(s), s.elements) },
		func() error { return t.conn.SetDeleteElements(t.set(s), bare) },
		func() error { return t.conn.SetAddElements(t.set(s), s.elements) },
	} {
		if err := step(); err != nil {
			return fmt.Errorf("encode set %s: %w", s.name, err)
		}
	}
	return nil
}

// Remaining asks the kernel what the leases have left.
func (e *Engine) Remaining(ctx context.Context, table string) (left redirect.Remaining, err error) {
	r := redirect.Rules{Table: table}
	if err := r.Validate(); err != nil {
		return left, err
	}
	if err := ctx.Err(); err != nil {
		return left, err
	}
	table = r.Normal().Table
	k, err := openReader()
	if err != nil {
		return left, wrap("look at the leases of", table, explain(err))
	}
	defer k.close()
	if left.FailOpen, err = k.left(table, setLease); err == nil {
		left.Trial, err = k.left(table, setTrial)
	}
	return left, wrap("look at the leases of", table, explain(err))
}

// left is the time of the element of a lease that runs out first.
func (r *reader) left(table, name string) (time.Duration, error) {
	msgs, err := r.dump(unix.NFT_MSG_GETSETELEM,
		nameAttr(unix.NFTA_SET_ELEM_LIST_TABLE, table), nameAttr(unix.NFTA_SET_ELEM_LIST_SET, name))
	if errors.Is(err, unix.ENOENT) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var least time.Duration
	elements := 0
	for _, msg := range msgs {
		list, err := netlink.UnmarshalAttributes(msg[unix.NFTA_SET_ELEM_LIST_ELEMENTS])
		if err != nil {
			return 0, err
		}
		for _, item := range list {
			a, err := parse(item.Data)
			if err != nil {
				return 0, err
			}
			b := a[unix.NFTA_SET_ELEM_EXPIRATION]
			if len(b) != 8 {
				continue // somebody put in one that never runs out
			}
			left := time.Duration(binary.BigEndian.Uint64(b)) * time.Millisecond
			if elements++; elements == 1 || left < least {
				least = left
			}
		}
	}
	if elements < 2 {
		return 0, nil
	}
	return least, nil
}
