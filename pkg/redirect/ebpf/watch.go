//go:build linux

package ebpf

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/cgroup"
	"github.com/weft-mesh/weft/pkg/redirect/route"
)

var _ redirect.Watcher = (*Engine)(nil)

// waiting is how many signs wait for their reader. More say nothing new.
const waiting = 16

// Watch signs what the programs cannot see by themselves: pins that come or go,
// addresses, routes and devices of this host, and cgroups that rules name. Of
// links that somebody detaches with their pins in place, and of what others
// write into maps, the kernel tells nothing: only a look does.
func (e *Engine) Watch(ctx context.Context, r redirect.Rules) (<-chan redirect.Change, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	r = r.Normal()
	netns, _, err := namespace()
	if err != nil {
		return nil, err
	}
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, fmt.Errorf("hear of changes to the routes: %w", err)
	}
	for _, group := range []uint32{unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE} {
		err = errors.Join(err, conn.JoinGroup(group))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("hear of changes to the routes: %w", err), conn.Close())
	}
	at := place{bpffs: e.pins, table: r.Table, netns: netns}
	pins, err := watchPins(at)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	var (
		out     = make(chan redirect.Change, waiting)
		mu      sync.Mutex // of closed
		closed  bool
		readers sync.WaitGroup
	)
	tell := func(c redirect.Change) {
		mu.Lock()
		defer mu.Unlock()
		if closed {
			return
		}
		select {
		case out <- c:
		default: // enough wait already
		}
	}
	sign := func() { tell(redirect.Change{}) }
	moved := func(now map[string]uint64, came bool) {
		in := came && follow(at, r, now) == nil
		tell(redirect.Change{Urgent: came && !in, Came: in})
	}
	if err := cgroup.Watch(ctx, moved, cgroupsOf(r)...); err != nil {
		cancel()
		return nil, errors.Join(err, conn.Close(), pins.Close())
	}
	context.AfterFunc(ctx, func() { _, _ = conn.Close(), pins.Close() }) // ends both readers
	readers.Go(func() {
		defer cancel()
		for {
			messages, err := conn.Receive()
			switch {
			case errors.Is(err, unix.ENOBUFS):
				sign() // something was lost: it may have been ours
			case err != nil:
				return
			}
			for _, m := range messages {
				if concerns(m) {
					sign()
				}
			}
		}
	})
	readers.Go(func() {
		defer cancel()
		const room = 16 << 10 // bytes: a hundred events
		for buffer := make([]byte, room); ; {
			if _, err := pins.Read(buffer); err != nil {
				return
			}
			if err := listenAt(pins, at); err != nil { // what came just now, too
				return
			}
			sign()
		}
	})
	go func() {
		readers.Wait()
		mu.Lock()
		defer mu.Unlock()
		closed = true
		close(out)
	}()
	return out, nil
}

// Offsets in struct rtmsg, and its length.
const (
	rtmsgTable    = 4
	rtmsgProtocol = 5
	rtmsgLen      = 12
)

// concerns tells whether a message is of an address, a device, a local route
// or one of ours.
func concerns(m netlink.Message) bool {
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK, unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return true
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return len(m.Data) >= rtmsgLen && (m.Data[rtmsgTable] == unix.RT_TABLE_LOCAL || m.Data[rtmsgProtocol] == route.Protocol)
	}
	return false
}

// goings are the events of a folder from which something is taken, or into
// which something is put.
const goings = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE_SELF

// watchPins hears of changes to the folders of a place, and to those above.
func watchPins(p place) (*os.File, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("hear of changes to pins: %w", err)
	}
	f := os.NewFile(uintptr(fd), "inotify")
	if err := listenAt(f, p); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// listenAt listens at those folders that are there. One that is listened at
// already stays so.
func listenAt(f *os.File, p place) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var errs []error
	err = conn.Control(func(fd uintptr) {
		for _, dir := range []string{p.bpffs, p.root(), p.dir(), linksIn(p.dir()), mapsIn(p.dir())} {
			if _, err := unix.InotifyAddWatch(int(fd), dir, goings); err != nil && !errors.Is(err, unix.ENOENT) {
				errs = append(errs, fmt.Errorf("hear of changes to pins in %s: %w", dir, err))
			}
		}
	})
	return errors.Join(append(errs, err)...)
}
