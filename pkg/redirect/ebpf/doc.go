// Package ebpf redirects by programs that the kernel runs where sockets
// connect and where connections look for their listener.
//
// The programs are compiled from the C sources in bpf/ at the root of this
// repository; bpf/DESIGN.md tells which hangs where, what lies in which map and
// why. Here they are loaded, attached, pinned and told what to do.
//
// # What a call meets
//
// Outbound and DNS: connect and sendmsg rewrite the destination to loopback
// before there is a packet, so that neither NAT nor connection tracking takes
// part. The caller sees the peer that it asked for (getpeername, recvmsg); the
// proxy asks for the original destination as it does behind NAT, and a program
// on the proxy's own cgroup answers.
//
// Inbound: a program at the network namespace's socket lookup hands connections
// to the proxy's listener, destination and port unchanged and after the host's
// firewall. Where the proxy does not listen they are refused.
//
// # How rules change
//
// One map holds the rules in force as a whole, and one write exchanges it for
// the next: every program sees the old rules or the new ones. What has many
// entries carries the number of the rules to which it belongs, and is written
// before and cleared after.
//
// # Ownership
//
// Everything is pinned in one folder of the bpf file system for each table and
// network namespace. Removing the folder takes everything away, whatever
// version made it.
package ebpf
