//go:build linux

package route

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// watchBuffer is the room for what the kernel tells faster than we read, in
// bytes. What does not fit is lost, which the kernel tells.
const watchBuffer = 1 << 20

// Watch calls changed, from now on until ctx ends, when our routes change, others'
// routes to the ranges, or the loopback device; and ended, once, when ctx has
// ended or no more can be heard. It hears of the calling thread's network
// namespace.
func Watch(ctx context.Context, changed, ended func(), vips ...netip.Prefix) error {
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return fmt.Errorf("hear of changes to the routes: %w", explain(err))
	}
	err = conn.SetReadBuffer(watchBuffer)
	for _, group := range []uint32{unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE} {
		err = errors.Join(err, conn.JoinGroup(group))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("hear of changes to the routes: %w", explain(err)), conn.Close())
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends the reader
	go func() {
		defer ended()
		for {
			messages, err := conn.Receive()
			switch {
			case errors.Is(err, unix.ENOBUFS):
				changed() // something was lost: it may have been ours
				continue
			case err != nil:
				return
			}
			if slices.ContainsFunc(messages, func(m netlink.Message) bool { return concerns(m, vips) }) {
				changed()
			}
		}
	}()
	return nil
}

// Offsets in rtmsg and ifinfomsg, and their lengths.
const (
	rtmsgDstLen   = 1
	rtmsgProtocol = 5
	rtmsgLen      = 12
	ifinfoIndex   = 4
	ifinfoLen     = 16
)

func concerns(m netlink.Message, vips []netip.Prefix) bool {
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return len(m.Data) >= ifinfoLen && binary.NativeEndian.Uint32(m.Data[ifinfoIndex:]) == loopbackIndex
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		if len(m.Data) < rtmsgLen {
			return false
		}
		if m.Data[rtmsgProtocol] == Protocol {
			return true
		}
		d, err := netlink.NewAttributeDecoder(m.Data[rtmsgLen:])
		if err != nil {
			return false
		}
		for d.Next() {
			if addr, ok := netip.AddrFromSlice(d.Bytes()); ok && d.Type() == unix.RTA_DST {
				return slices.Contains(vips, netip.PrefixFrom(addr, int(m.Data[rtmsgDstLen])))
			}
		}
	}
	return false
}
