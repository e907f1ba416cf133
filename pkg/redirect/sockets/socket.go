// Package sockets looks up this host's TCP and UDP sockets and whose they are.
//
// It asks the kernel (sock_diag) in the network namespace of the calling
// thread, and /proc for the processes. It changes nothing.
package sockets

import "net/netip"

// A Socket is one end of a connection, or what waits for one.
type Socket struct {
	UDP       bool
	State     State
	Local     netip.AddrPort // IPv4-mapped addresses as IPv4
	Remote    netip.AddrPort // port 0 where it has no peer
	UID       uint32
	Mark      uint32 // 0 as well where the caller may not see it
	Inode     uint32 // 0: no process has it, or not yet
	Interface uint32 // that it is bound to; 0: none
	Cookie    uint64 // which no other socket has until the next boot
	Cgroup    uint64 // id of the cgroup that it was made in; 0 before Linux 5.9
	// Transparent is IP_TRANSPARENT, which accepted connections have from their
	// listener. Linux tells since 5.10.
	Transparent bool
}

// A State is that of a TCP socket; include/net/tcp_states.h.
type State uint8

// The states that matter here.
const (
	Established State = 1
	SynSent     State = 2
	SynReceived State = 3
	Listening   State = 10
)

// A Query restricts what is asked for. Its zero value asks for every TCP
// socket but those in TIME_WAIT.
type Query struct {
	UDP           bool
	States        []State // none: all but TIME_WAIT
	Local, Remote uint16  // ports; 0: any
}
