// Package iptables redirects by iptables and ip6tables, for hosts whose kernel
// has no usable nf_tables or whose owner wants all rules in one place.
//
// # What a packet meets
//
// The same as with the nftables engine, in chains of our own named
// WEFT.<table>.<generation>.<role>. One jump leads to each from the head of a
// built-in chain: raw OUTPUT to dns, mangle PREROUTING to prerouting (and from
// there to inbound), nat OUTPUT to output, filter INPUT to input. Every rule
// carries its name as a comment, so that iptables -L tells what it is for.
//
// Connections to enrolled ports are given to the proxy by TPROXY, which here,
// unlike nf_tables' own, drops what it finds no listener for. So it sees two
// kinds of packets only: those that open a connection, and bare answers (ACK)
// without a socket, which complete a connection opened by SYN cookie.
// Everything else finds its socket by itself.
//
// # What is refused
//
// Calls to the proxy's own listeners, by RST, as with nftables. Callers of
// enrolled ports get no answer while the proxy is away, as TPROXY drops their
// SYN: they wait and try again, and are let in when the proxy is back. Never do
// they reach the workload.
//
// # How rules change
//
// Chains of a new generation ("a" follows "b" follows "a") come into being beside
// the old ones, the jump moves, and the old ones go, all in one COMMIT for each
// of the four iptables tables. A packet meets the old rules or the new ones.
// If one table or one family fails, those before it are put back.
//
// # Which iptables
//
// There are two kinds, which do not see each other's rules. The engine takes
// the one in which the host has more rules, and nf_tables' where neither has
// any. What is left of ours in the other is deleted.
//
// # Ownership
//
// Chains are ours by their names and jumps by where they lead. Nothing else is
// ever deleted. Built-in chains and tables that iptables made for us stay, empty.
package iptables
