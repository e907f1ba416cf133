//go:build linux

package nftables

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/cgroup"
	"github.com/weft-mesh/weft/pkg/redirect/route"
)

var _ redirect.Watcher = (*Engine)(nil)

// watchBuffer is the room for what the kernel tells faster than we read, in
// bytes. What does not fit is lost, which the kernel tells.
const watchBuffer = 1 << 20

// waiting is how many signs wait for their reader. More say nothing new.
const waiting = 16

// Watch signs changes to the rules' table, to our routes, to others' routes to
// the rules' VIPs, to the loopback device and to the cgroups that rules name. Changes to other tables and the
// renewal of a lease are passed over here, and so cost a few instructions each.
// A cgroup that comes to be is put into its sets before that is signed.
func (e *Engine) Watch(ctx context.Context, r redirect.Rules) (<-chan redirect.Change, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	r = r.Normal()
	tables, err := listen(unix.NETLINK_NETFILTER, unix.NFNLGRP_NFTABLES)
	if err != nil {
		return nil, fmt.Errorf("hear of changes to nf_tables: %w", explain(err))
	}
	follow, err := e.follower(r)
	if err != nil {
		return nil, errors.Join(err, tables.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(ctx, func() { _ = tables.Close() }) // ends its reader
	rerouted, moved := make(chan struct{}, 1), make(chan redirect.Change, waiting)
	if err := errors.Join(
		route.Watch(ctx, func() { offer(rerouted, struct{}{}) }, cancel, r.VIPs...),
		cgroup.Watch(ctx, func(now map[string]uint64, came bool) {
			in := came && follow(now)
			offer(moved, redirect.Change{Urgent: came && !in, Came: in})
		}, named(r)...),
	); err != nil {
		cancel()
		return nil, err
	}
	out := make(chan redirect.Change, waiting)
	var readers sync.WaitGroup
	readers.Go(func() {
		defer cancel()
		hear(tables, (&tableListener{table: r.Table}).sign, out)
	})
	readers.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-rerouted:
				offer(out, redirect.Change{})
			case c := <-moved:
				offer(out, c)
			}
		}
	})
	go func() {
		readers.Wait()
		cancel()
		close(out)
	}()
	return out, nil
}

func listen(family int, groups ...uint32) (*netlink.Conn, error) {
	conn, err := netlink.Dial(family, nil)
	if err != nil {
		return nil, err
	}
	err = conn.SetReadBuffer(watchBuffer)
	for _, g := range groups {
		err = errors.Join(err, conn.JoinGroup(g))
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// offer drops what there is no room for: enough waits already.
func offer[T any](ch chan<- T, v T) {
	select {
	case ch <- v:
	default:
	}
}

// hear passes on what sign makes of messages, until the socket is closed.
func hear(conn *netlink.Conn, sign func(netlink.Message) (redirect.Change, bool), out chan<- redirect.Change) {
	for {
		messages, err := conn.Receive()
		switch {
		case errors.Is(err, unix.ENOBUFS):
			offer(out, redirect.Change{}) // something was lost: it may have been ours
			continue
		case err != nil:
			return
		}
		for _, m := range messages {
			if c, ok := sign(m); ok {
				offer(out, c)
			}
		}
	}
}

// A tableListener hears the messages of transactions. The kernel tells the
// parts of one, and then, in the new generation, who sent it.
type tableListener struct {
	table   string
	touched bool // in the transaction that is being told
	gone    bool // the table, in that transaction
}

func (l *tableListener) sign(m netlink.Message) (redirect.Change, bool) {
	if len(m.Data) < nfgenmsgLen || m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES {
		return redirect.Change{}, false
	}
	kind := int(m.Header.Type & 0xff)
	if kind == unix.NFT_MSG_NEWGEN {
		touched, gone := l.touched, l.gone
		l.touched, l.gone = false, false
		if !touched {
			return redirect.Change{}, false
		}
		return redirect.Change{By: sender(m.Data[nfgenmsgLen:]), Urgent: gone}, true
	}
	if m.Data[0] == unix.NFPROTO_INET && (!l.touched || kind == unix.NFT_MSG_DELTABLE) && l.concerns(kind, m.Data[nfgenmsgLen:]) {
		l.touched = true
		l.gone = l.gone || kind == unix.NFT_MSG_DELTABLE
	}
	return redirect.Change{}, false
}

// concerns tells whether a message is about our table, whose name is the first
// attribute of all of them.
func (l *tableListener) concerns(kind int, b []byte) bool {
	d, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return false
	}
	elements := kind == unix.NFT_MSG_NEWSETELEM || kind == unix.NFT_MSG_DELSETELEM
	ours := false
	for d.Next() {
		switch d.Type() {
		case unix.NFTA_TABLE_NAME:
			if ours = d.String() == l.table; !ours || !elements {
				return ours
			}
		case unix.NFTA_SET_ELEM_LIST_SET:
			return ours && !timed(d.String())
		}
	}
	return ours
}

// sender names who sent a transaction, unless it was a thread of ours.
func sender(gen []byte) string {
	a, err := parse(gen)
	if err != nil {
		return ""
	}
	pid, name := a.uint32(unix.NFTA_GEN_PROC_PID), a.text(unix.NFTA_GEN_PROC_NAME)
	if pid == 0 {
		return ""
	}
	if _, err := os.Stat("/proc/self/task/" + strconv.Itoa(int(pid))); err == nil {
		return ""
	}
	return fmt.Sprintf("%s (pid %d)", name, pid)
}
