//go:build linux

package iptables

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unsafe"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/cgroup"
	"github.com/weft-mesh/weft/pkg/redirect/route"
)

var _ redirect.Watcher = (*Engine)(nil)

const (
	// pulseTime is how often is asked what nobody tells of: how many rules the
	// legacy kind has, and what our sets hold.
	pulseTime = 300 * time.Millisecond
	// lookTime is how often is signed without a sign: nothing tells of a legacy
	// rule that takes another's place, or of an address that an interface gets.
	lookTime = 10 * time.Second
	// waiting is how many signs wait for their reader. More say nothing new.
	waiting = 16
)

// Watch signs changes to chains of ours and to the built-in ones that lead to
// them, to routes, the loopback device and the cgroups that rules name.
func (e *Engine) Watch(ctx context.Context, r redirect.Rules) (<-chan redirect.Change, error) {
	want, err := e.begun(ctx, r)
	if err != nil {
		return nil, wrap("watch", r.Table, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	signs := make(chan redirect.Change, waiting)
	sign := func(c redirect.Change) {
		select {
		case signs <- c:
		default: // enough waits already
		}
	}
	beats, err := newPulse(want.Table)
	err = errors.Join(err,
		watchTables(ctx, sign, cancel),
		route.Watch(ctx, func() { sign(redirect.Change{}) }, cancel, want.VIPs...),
		cgroup.Watch(ctx, func(_ map[string]uint64, came bool) { sign(redirect.Change{Urgent: came}) }, cgroupsOf(want.Rules)...),
	)
	if err != nil {
		cancel()
		return nil, errors.Join(wrap("watch", r.Table, err), beats.close())
	}
	out := make(chan redirect.Change)
	go func() {
		defer func() {
			cancel()
			_ = beats.close()
			close(out)
		}()
		beat, look := time.NewTicker(pulseTime), time.NewTicker(lookTime)
		defer beat.Stop()
		defer look.Stop()
		for {
			var c redirect.Change
			select {
			case <-ctx.Done():
				return
			case <-beat.C:
				if !beats.changed() {
					continue
				}
			case <-look.C:
			case c = <-signs:
			}
			select {
			case out <- c:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

// watchTables hears of the nft kind. A kernel without nf_tables has none.
func watchTables(ctx context.Context, sign func(redirect.Change), ended func()) error {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("hear of changes to nf_tables: %w", err)
	}
	if err := conn.JoinGroup(unix.NFNLGRP_NFTABLES); err != nil {
		return errors.Join(fmt.Errorf("hear of changes to nf_tables: %w", err), conn.Close())
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends the reader
	go func() {
		defer ended()
		touched := false // in the transaction that is being told
		for {
			messages, err := conn.Receive()
			switch {
			case errors.Is(err, unix.ENOBUFS):
				sign(redirect.Change{}) // something was lost: it may have been ours
				continue
			case err != nil:
				return
			}
			for _, m := range messages {
				if len(m.Data) < nfgenmsgLen || m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES {
					continue
				}
				kind, attributes := int(m.Header.Type&0xff), m.Data[nfgenmsgLen:]
				switch {
				case kind != unix.NFT_MSG_NEWGEN:
					touched = touched || (m.Data[0] == unix.NFPROTO_IPV4 || m.Data[0] == unix.NFPROTO_IPV6) && concerns(kind, attributes)
				case touched:
					touched = false
					sign(redirect.Change{By: sender(attributes)})
				}
			}
		}
	}()
	return nil
}

// nfgenmsgLen is the length of struct nfgenmsg.
const nfgenmsgLen = 4

// concerns tells whether a message is about a chain of ours or one that leads
// to ours.
func concerns(kind int, b []byte) bool {
	var (
		name    uint16 // the attribute that has the chain's
		deleted bool
	)
	switch kind {
	case unix.NFT_MSG_NEWRULE, unix.NFT_MSG_DELRULE:
		name = unix.NFTA_RULE_CHAIN
	case unix.NFT_MSG_DELCHAIN:
		name, deleted = unix.NFTA_CHAIN_NAME, true
	case unix.NFT_MSG_NEWCHAIN:
		name = unix.NFTA_CHAIN_NAME
	case unix.NFT_MSG_DELTABLE:
		return true
	default:
		return false
	}
	d, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return false
	}
	for d.Next() {
		if d.Type() == name {
			chain := d.String()
			builtIn := chain == "INPUT" || chain == "OUTPUT" || chain == "PREROUTING"
			return strings.HasPrefix(chain, prefixAll) || builtIn && (name == unix.NFTA_RULE_CHAIN || deleted)
		}
	}
	return false
}

// sender names who sent a transaction.
func sender(b []byte) string {
	d, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return ""
	}
	d.ByteOrder = binary.BigEndian
	name, pid := "", uint32(0)
	for d.Next() {
		switch d.Type() {
		case unix.NFTA_GEN_PROC_PID:
			pid = d.Uint32()
		case unix.NFTA_GEN_PROC_NAME:
			name = d.String()
		}
	}
	if pid == 0 {
		return ""
	}
	return fmt.Sprintf("%s (pid %d)", name, pid)
}

// A pulse asks the legacy kind for the sizes of its tables, as iptables does
// itself, and ip_set for our sets.
type pulse struct {
	sockets []pulseSocket
	last    map[string]getinfo

	table   string
	conn    *setConn
	holding string // what our sets hold, as text
}

// A pulseSocket is of the network namespace in which it was made, whoever asks.
type pulseSocket struct {
	fd     int
	level  int
	tables []string
}

// getinfo is struct ipt_getinfo of <linux/netfilter_ipv4/ip_tables.h>, which
// is that of IPv6 too.
type getinfo struct {
	name      [32]byte
	hooks     uint32
	entry     [5]uint32
	underflow [5]uint32
	entries   uint32
	size      uint32
}

// optGetInfo is IPT_SO_GET_INFO and IP6T_SO_GET_INFO.
const optGetInfo = 64

// newPulse asks only for tables that are there: others would be made.
func newPulse(table string) (*pulse, error) {
	conn, err := dialSets()
	if err != nil {
		return nil, err
	}
	p := &pulse{last: make(map[string]getinfo), table: table, conn: conn}
	for _, f := range []struct {
		names         string
		domain, level int
	}{{"ip_tables_names", unix.AF_INET, unix.SOL_IP}, {"ip6_tables_names", unix.AF_INET6, unix.SOL_IPV6}} {
		text, err := os.ReadFile("/proc/thread-self/net/" + f.names)
		if err != nil || len(text) == 0 {
			continue
		}
		fd, err := unix.Socket(f.domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return p, errors.Join(fmt.Errorf("ask for the size of tables: %w", err), p.close())
		}
		p.sockets = append(p.sockets, pulseSocket{fd, f.level, strings.Fields(string(text))})
	}
	p.changed()
	return p, nil
}

// changed tells whether a table's size or a set is another than last time. A
// lease whose time is renewed is the same.
func (p *pulse) changed() (is bool) {
	if held, err := p.conn.list(prefix(p.table)); err == nil {
		holding := ""
		for _, h := range held {
			holding += fmt.Sprint(h.name, h.entries, len(h.members), " ")
		}
		p.holding, is = holding, holding != p.holding
	}
	for _, s := range p.sockets {
		for _, table := range s.tables {
			var info getinfo
			copy(info.name[:], table)
			size := uint32(unsafe.Sizeof(info))
			_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), uintptr(s.level), optGetInfo,
				uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
			key := fmt.Sprint(s.level, table)
			if errno == 0 && info != p.last[key] {
				p.last[key], is = info, true
			}
		}
	}
	return is
}

func (p *pulse) close() error {
	if p == nil {
		return nil
	}
	errs := []error{p.conn.Close()}
	for _, s := range p.sockets {
		errs = append(errs, unix.Close(s.fd))
	}
	p.sockets = nil
	return errors.Join(errs...)
}
