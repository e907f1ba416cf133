//go:build linux

package nftables

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// elementsPerMessage keeps a message's list of elements below the 64 KiB that
// a netlink attribute can hold.
const elementsPerMessage = 512

// socketBuffer holds a whole transaction and its acknowledgements, in bytes.
const socketBuffer = 8 << 20

// A transaction is one netlink batch: all of it takes effect or nothing.
type transaction struct {
	conn  *nftables.Conn
	table *nftables.Table
	setID uint32
}

func begin(table string) (*transaction, error) {
	conn, err := nftables.New(nftables.WithSockOptions(func(c *netlink.Conn) error {
		if err := c.SetReadBuffer(socketBuffer); err != nil {
			return err
		}
		if err := c.SetWriteBuffer(socketBuffer); err != nil {
			return err
		}
		return c.SetDeadline(time.Now().Add(kernelTime))
	}))
	if err != nil {
		return nil, fmt.Errorf("open netlink to nf_tables: %w", explain(err))
	}
	return &transaction{conn: conn, table: &nftables.Table{Name: table, Family: nftables.TableFamilyINet}}, nil
}

// commit sends all of it. Of what the kernel says it returns the first: the
// rest are messages that built on the one that failed.
func (t *transaction) commit() error {
	err := t.conn.Flush()
	if first, ok := errors.AsType[*netlink.OpError](err); ok {
		return first
	}
	return err
}

// prepare adds the sets that the table lacks, which no rule uses yet.
//
// Linux fills a new set of intervals a moment after the transaction that made
// it took effect (seen on 6.18: some microseconds). Rules that came with it would
// match nothing in between, and traffic to enrolled ports would reach the
// workload past the proxy. So sets come first, in a transaction of their own.
func (t *transaction) prepare(sets []set) error {
	for _, s := range sets {
		if err := t.addSet(s); err != nil {
			return err
		}
	}
	return nil
}

// missing are the wanted sets that the table can take beside what it has.
func (rs ruleset) missing(have held) []set {
	return slices.DeleteFunc(slices.Clone(rs.sets), func(s set) bool {
		return slices.ContainsFunc(have.sets, func(h heldSet) bool { return h.name == s.name })
	})
}

// replace makes the table be want. Chains and sets that stay are never deleted,
// chains are emptied and filled again: a new chain is hooked in front of the
// old one, so that a packet between the two at the very moment would find the
// new one not yet and the old one no longer filled. That is deduced from the
// kernel's code; no test has met the moment.
func (t *transaction) replace(want ruleset, have held) error {
	if have.flags&unix.NFT_TABLE_F_DORMANT != 0 {
		// The kernel takes no chains together with the switching on, and
		// there are no packets in a table that is off.
		t.deleteTable()
		have = held{}
	}
	t.conn.AddTable(t.table)
	chainStays := func(h heldChain) bool {
		return slices.ContainsFunc(want.chains, func(c chain) bool { return c.name == h.name && sameHook(c, h) })
	}
	setStays := func(h heldSet) bool {
		return slices.ContainsFunc(want.sets, func(s set) bool { return s.name == h.name && sameSet(s, h) })
	}
	for _, h := range have.chains {
		t.conn.FlushChain(t.chain(h.name))
	}
	for _, h := range have.chains {
		if !chainStays(h) {
			t.conn.DelChain(t.chain(h.name))
		}
	}
	for _, h := range have.sets {
		if !setStays(h) {
			t.deleteSet(h.name)
		}
	}
	for _, s := range want.sets {
		stays := slices.ContainsFunc(have.sets, func(h heldSet) bool { return h.name == s.name && setStays(h) })
		var err error
		switch {
		case !stays:
			err = t.addSet(s)
		case s.name == setTrial:
			err = t.renew(s)
		}
		if err != nil {
			return err
		}
	}
	for _, c := range want.chains {
		if !slices.ContainsFunc(have.chains, func(h heldChain) bool { return h.name == c.name && chainStays(h) }) {
			t.addChain(c)
		}
	}
	for _, c := range want.chains {
		for _, r := range c.rules {
			t.addRule(c, r)
		}
	}
	return nil
}

func (t *transaction) deleteSet(name string) {
	t.conn.DelSet(&nftables.Set{Table: t.table, Name: name})
}

func (t *transaction) chain(name string) *nftables.Chain {
	return &nftables.Chain{Table: t.table, Name: name}
}

func (t *transaction) addChain(c chain) {
	if !c.hooked() {
		t.conn.AddChain(t.chain(c.name))
		return
	}
	policy := nftables.ChainPolicyAccept
	t.conn.AddChain(&nftables.Chain{
		Table: t.table, Name: c.name, Type: c.kind, Policy: &policy,
		Hooknum: &c.hook.num, Priority: nftables.ChainPriorityRef(nftables.ChainPriority(c.priority)),
	})
}

func (t *transaction) set(s set) *nftables.Set {
	out := &nftables.Set{Table: t.table, Name: s.name, KeyType: s.kind.key, Interval: s.kind.interval, HasTimeout: s.kind.timed}
	if s.kind.learns {
		out.Dynamic, out.Size = true, learnt
	}
	return out
}

func (t *transaction) addSet(s set) error {
	t.setID++ // chosen here: the library's own counter is shared and not safe
	target := t.set(s)
	target.ID = t.setID
	if s.kind.hostOrder {
		target.KeyByteOrder = binaryutil.NativeEndian // for nft, which shows the elements
	}
	if err := t.conn.AddSet(target, nil); err != nil {
		return fmt.Errorf("encode set %s: %w", s.name, err)
	}
	for some := range slices.Chunk(s.elements, elementsPerMessage) {
		if err := t.conn.SetAddElements(target, some); err != nil {
			return fmt.Errorf("encode set %s: %w", s.name, err)
		}
	}
	return nil
}

func (t *transaction) addRule(c chain, r rule) {
	var exprs []expr.Any
	for _, p := range r.parts {
		exprs = append(exprs, p.exprs...)
	}
	t.conn.AddRule(&nftables.Rule{
		Table: t.table, Chain: t.chain(c.name), Exprs: exprs,
		UserData: userdata.AppendString(nil, userdata.TypeComment, r.name),
	})
}

func (t *transaction) deleteTable() { t.conn.DelTable(t.table) }
