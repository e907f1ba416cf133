//go:build linux

package sockets

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	timeWait      = 6
	diagMark      = 15 // INET_DIAG_MARK
	diagCgroup    = 21 // INET_DIAG_CGROUP_ID
	diagSockopt   = 22 // INET_DIAG_SOCKOPT
	transparent   = 1 << 5
	requestLen    = 56 // struct inet_diag_req_v2
	messageLen    = 72 // struct inet_diag_msg
	kernelTime    = 10 * time.Second
	socketDiagFam = unix.SOCK_DIAG_BY_FAMILY
)

// Find lists sockets of both families.
func Find(q Query) ([]Socket, error) {
	conn, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
	if err != nil {
		return nil, fmt.Errorf("look at sockets: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(kernelTime)); err != nil {
		return nil, fmt.Errorf("look at sockets: %w", err)
	}
	var out []Socket
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		messages, err := conn.Execute(netlink.Message{
			Header: netlink.Header{Type: socketDiagFam, Flags: netlink.Request | netlink.Dump},
			Data:   q.request(family),
		})
		if err != nil {
			return nil, fmt.Errorf("look at sockets: %w", err)
		}
		for _, m := range messages {
			s, ok := read(m.Data)
			if !ok || q.Local != 0 && s.Local.Port() != q.Local || q.Remote != 0 && s.Remote.Port() != q.Remote {
				continue
			}
			s.UDP = q.UDP
			out = append(out, s)
		}
	}
	return out, nil
}

func (q Query) request(family byte) []byte {
	b := make([]byte, requestLen)
	b[0], b[1] = family, unix.IPPROTO_TCP
	if q.UDP {
		b[1] = unix.IPPROTO_UDP
	}
	states := ^uint32(1 << timeWait)
	if len(q.States) > 0 {
		states = 0
		for _, s := range q.States {
			states |= 1 << s
		}
	}
	binary.NativeEndian.PutUint32(b[4:], states)
	binary.BigEndian.PutUint16(b[8:], q.Local)
	binary.BigEndian.PutUint16(b[10:], q.Remote)
	for i := 48; i < requestLen; i++ {
		b[i] = 0xff // INET_DIAG_NOCOOKIE
	}
	return b
}

// read reads a struct inet_diag_msg and what follows it.
func read(b []byte) (s Socket, ok bool) {
	if len(b) < messageLen {
		return s, false
	}
	at := func(offset int) netip.Addr {
		if b[0] == unix.AF_INET {
			return netip.AddrFrom4([4]byte(b[offset : offset+4]))
		}
		return netip.AddrFrom16([16]byte(b[offset : offset+16])).Unmap()
	}
	s.State = State(b[1])
	s.Local = netip.AddrPortFrom(at(8), binary.BigEndian.Uint16(b[4:]))
	s.Remote = netip.AddrPortFrom(at(24), binary.BigEndian.Uint16(b[6:]))
	s.Interface = binary.NativeEndian.Uint32(b[40:])
	s.Cookie = uint64(binary.NativeEndian.Uint32(b[44:])) | uint64(binary.NativeEndian.Uint32(b[48:]))<<32
	s.UID = binary.NativeEndian.Uint32(b[64:])
	s.Inode = binary.NativeEndian.Uint32(b[68:])
	attrs, err := netlink.UnmarshalAttributes(b[messageLen:])
	if err != nil {
		return s, true
	}
	for _, a := range attrs {
		switch {
		case a.Type == diagMark && len(a.Data) == 4:
			s.Mark = binary.NativeEndian.Uint32(a.Data)
		case a.Type == diagCgroup && len(a.Data) == 8:
			s.Cgroup = binary.NativeEndian.Uint64(a.Data)
		case a.Type == diagSockopt && len(a.Data) > 0:
			s.Transparent = a.Data[0]&transparent != 0 // struct inet_diag_sockopt, on little-endian machines
		}
	}
	return s, true
}
