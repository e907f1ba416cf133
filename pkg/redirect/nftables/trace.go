//go:build linux

package nftables

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// A Tracer follows single packets through everything that nf_tables holds,
// iptables-nft's rules among it, whichever engine redirects.
//
// For that it makes a table of its own, with one chain before all others, which
// marks the packets, and one behind them, which keeps packets from leaving the
// host. The table is its socket's (Linux 5.12): it is gone when that is closed,
// also with the process. Older kernels have it deleted by Close.
type Tracer struct{}

var _ redirect.Tracer = Tracer{}

// Chains of the tracer's table.
const (
	chainKeep  = "keep"
	tableTrace = "weft-trace-"

	prioFirst = -1000
	prioLast  = 1 << 30
)

var hookPostrouting = hook{"postrouting", *nftables.ChainHookPostrouting}

// tracing is the ruleset that follows packets: by their source port, which is
// its socket's alone, since their destination may be another before the first
// chain sees them.
func tracing(follow []redirect.Follow) ruleset {
	var from, kept []redirect.PortRange
	keep := chain{name: chainKeep}
	seen := make(map[redirect.Follow]bool)
	for i, f := range follow {
		from = append(from, redirect.PortRange{First: f.FromPort, Last: f.FromPort})
		f.FromPort = 0
		if f.Keep && !seen[f] {
			kept = append(kept, redirect.PortRange{First: f.To.Port(), Last: f.To.Port()})
			keep.add(fmt.Sprint("packet ", i), oifOther(), destination(f.To.Addr()), portIs(transportOf(f), f.To.Port()), drop())
			seen[f] = true
		}
	}
	all := redirect.Rules{Inbound: redirect.Inbound{Ports: from}, Outbound: redirect.Outbound{ExcludePorts: kept}}.Normal()
	rs := ruleset{table: fmt.Sprint(tableTrace, os.Getpid()), sets: []set{portSet("from", all.Inbound.Ports), portSet("kept", all.Outbound.ExcludePorts)}}
	hooked := func(name string, at hook, priority int32, match func(t transport) part, then part) chain {
		c := chain{name: name, kind: nftables.ChainTypeFilter, hook: at, priority: priority}
		for _, t := range []transport{tcp, udp} {
			c.add(name+" "+t.name, match(t), then)
		}
		return c
	}
	isFrom := func(t transport) part { return port(t, "sport", offSourcePort, lookup("from"), "@from") }
	isKept := func(t transport) part { return port(t, "dport", offDestPort, lookup("kept"), "@kept") }
	rs.chains = []chain{keep,
		hooked("out", hookOutput, prioFirst, isFrom, traceSet()),
		hooked("in", hookPrerouting, prioFirst, isFrom, traceSet()),
		hooked("leaving", hookPostrouting, prioLast, isKept, jump(chainKeep)),
	}
	return rs
}

func transportOf(f redirect.Follow) transport {
	if f.UDP {
		return udp
	}
	return tcp
}

func destination(a netip.Addr) part {
	if a.Is4() {
		return address(unix.NFPROTO_IPV4, "ip daddr "+a.String(), 16, 4, equal(a.AsSlice()...))
	}
	return address(unix.NFPROTO_IPV6, "ip6 daddr "+a.String(), 24, 16, equal(a.AsSlice()...))
}

func traceSet() part {
	return part{text: "meta nftrace set 1", exprs: []expr.Any{
		immediate([]byte{1}), &expr.Meta{Key: expr.MetaKeyNFTRACE, SourceRegister: true, Register: reg}}}
}

// oifOther is every device but lo.
func oifOther() part {
	return part{text: `oif != "lo"`, exprs: []expr.Any{meta(expr.MetaKeyOIF), differ(host32(loopbackIndex)...)}}
}

// Trace begins to follow.
func (Tracer) Trace(ctx context.Context, follow []redirect.Follow) (redirect.Trace, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	want := tracing(follow)
	wrapped := func(err error) error { return fmt.Errorf("follow packets: %w", explain(err)) }
	events, err := listen(unix.NETLINK_NETFILTER, unix.NFNLGRP_NFTRACE)
	if err != nil {
		return nil, wrapped(err)
	}
	owner, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, wrapped(errors.Join(err, events.Close()))
	}
	t := &trace{want: want, owner: owner, events: events, names: make(map[string]string)}
	if err := errors.Join(events.SetReadBuffer(socketBuffer), t.install()); err != nil {
		return nil, wrapped(errors.Join(err, owner.Close(), events.Close()))
	}
	return t, nil
}

// A trace is one table and what the kernel told since it is there.
type trace struct {
	want   ruleset
	owner  *netlink.Conn // whose the table is
	owned  bool
	events *netlink.Conn // told while a packet is on its way, and kept in the socket until asked for
	seen   []event
	names  map[string]string // of rules
}

// tableOwner is NFT_TABLE_F_OWNER.
const tableOwner = 2

func (t *trace) install() error {
	messages, err := encode(t.want.table, func(tx *transaction) error { return tx.replace(t.want, held{}) })
	if err != nil {
		return err
	}
	if err := send(t.owner, ownedBySocket(messages)); err == nil {
		t.owned = true
		return nil
	}
	return send(t.owner, messages) // a kernel that knows no owners
}

// ownedBySocket has the table be the socket's that sends it.
func ownedBySocket(messages []netlink.Message) []netlink.Message {
	out := slices.Clone(messages)
	for i, m := range out {
		if m.Header.Type != unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWTABLE {
			continue
		}
		name := nameAttr(unix.NFTA_TABLE_NAME, attrsOf(m).text(unix.NFTA_TABLE_NAME))
		flags := netlink.Attribute{Type: unix.NFTA_TABLE_FLAGS, Data: binary.BigEndian.AppendUint32(nil, tableOwner)}
		data, err := netlink.MarshalAttributes([]netlink.Attribute{name, flags})
		if err == nil {
			out[i].Data = append(slices.Clone(m.Data[:nfgenmsgLen]), data...)
		}
	}
	return out
}

func attrsOf(m netlink.Message) attrs {
	if len(m.Data) < nfgenmsgLen {
		return nil
	}
	a, err := parse(m.Data[nfgenmsgLen:])
	if err != nil {
		return nil
	}
	return a
}

// send sends a batch, and waits for what the kernel says to each message.
func send(conn *netlink.Conn, messages []netlink.Message) error {
	if err := conn.SetDeadline(time.Now().Add(kernelTime)); err != nil {
		return err
	}
	if _, err := conn.SendMessages(messages); err != nil {
		return err
	}
	var errs []error
	for _, m := range messages {
		if m.Header.Flags&netlink.Acknowledge != 0 {
			_, err := conn.Receive()
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// An event is one message of the kernel about a packet.
type event struct {
	attrs
	family byte
}

// read takes what the kernel has told until now.
func (t *trace) read() error {
	raw, err := t.events.SyscallConn()
	if err != nil {
		return err
	}
	b := make([]byte, 1<<16)
	for {
		var n int
		var recvErr error
		if err := raw.Control(func(fd uintptr) { n, _, recvErr = unix.Recvfrom(int(fd), b, unix.MSG_DONTWAIT) }); err != nil {
			return err
		}
		switch {
		case errors.Is(recvErr, unix.EAGAIN):
			return nil
		case errors.Is(recvErr, unix.ENOBUFS), errors.Is(recvErr, unix.EINTR):
			continue // something was lost: others trace much
		case recvErr != nil:
			return recvErr
		}
		messages, err := syscall.ParseNetlinkMessage(b[:n])
		if err != nil {
			return err
		}
		for _, m := range messages {
			if a, err := parse(m.Data[min(nfgenmsgLen, len(m.Data)):]); m.Header.Type == unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_TRACE && err == nil {
				t.seen = append(t.seen, event{copied(a), m.Data[0]})
			}
		}
	}
}

// copied is attributes that do not share the buffer that they were read to.
func copied(a attrs) attrs {
	for typ, b := range a {
		a[typ] = bytes.Clone(b)
	}
	return a
}

// Close takes the table away.
func (t *trace) Close() error {
	var err error
	if !t.owned {
		err = commit(t.want.table, func(tx *transaction) error {
			tx.deleteTable()
			return nil
		})
	}
	return errors.Join(err, t.owner.Close(), t.events.Close())
}

// Hops are what the kernel told of a packet and those after it.
func (t *trace) Hops(f redirect.Follow) ([]redirect.Hop, error) {
	if err := t.read(); err != nil {
		return nil, fmt.Errorf("read what was followed: %w", err)
	}
	rules, err := openReader()
	if err != nil {
		return nil, fmt.Errorf("look at rules: %w", explain(err))
	}
	defer rules.close()
	var (
		out []redirect.Hop
		now = make(map[uint32]redirect.Hop) // the packets that are followed, as they came into their chains

		source netip.AddrPort
	)
	for _, e := range t.seen {
		id := e.uint32(unix.NFTA_TRACE_ID)
		if from, to, ok := e.packet(); ok {
			// On its way through lo a packet gets another id, and NAT may have
			// given it another destination: its source stays. What a program at
			// connect redirects never had the one that was meant.
			followed := from.Port() == f.FromPort && e.transport() == transportOf(f).num &&
				(to == f.To || from == source || !source.IsValid() && to.Addr().IsLoopback())
			delete(now, id)
			if followed {
				source = from
				now[id] = redirect.Hop{From: from, To: to, In: interfaceName(e.uint32(unix.NFTA_TRACE_IIF)), Out: interfaceName(e.uint32(unix.NFTA_TRACE_OIF))}
			}
		}
		packet, followed := now[id]
		if !followed {
			continue
		}
		h := packet
		h.Table, h.Chain = familyName(e.family)+" "+e.text(unix.NFTA_TRACE_TABLE), e.text(unix.NFTA_TRACE_CHAIN)
		h.Rule, h.Verdict, h.Mark = t.name(rules, e), e.verdict(), e.uint32(unix.NFTA_TRACE_MARK)
		if e.text(unix.NFTA_TRACE_TABLE) == t.want.table {
			if h.Chain != chainKeep || h.Verdict != "drop" {
				continue // our own following
			}
			h.Left = true
		}
		out = append(out, h)
	}
	return out, nil
}

// name is ruleName, asked once.
func (t *trace) name(rules *reader, e event) string {
	key := fmt.Sprintf("%d %s %s %x", e.family, e.text(unix.NFTA_TRACE_TABLE), e.text(unix.NFTA_TRACE_CHAIN), e.attrs[unix.NFTA_TRACE_RULE_HANDLE])
	name, known := t.names[key]
	if !known {
		name = rules.ruleName(e)
		t.names[key] = name
	}
	if e.uint32(unix.NFTA_TRACE_TYPE) != unix.NFT_TRACETYPE_RULE {
		return ""
	}
	return name
}
