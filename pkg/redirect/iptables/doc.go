// Package iptables redirects by iptables and ip6tables, for hosts whose kernel
// has no usable nf_tables or whose owner wants all rules in one place.
//
// # What a packet meets
//
// The same as with the nftables engine, in chains of our own named
// WEFT.<table>.<generation>.<role>. One jump leads to each entry from the head of
// a built-in chain: raw OUTPUT, mangle PREROUTING, nat PREROUTING and OUTPUT,
// filter INPUT. Every rule carries its name as a comment, so that iptables -L
// tells what it is for.
//
// Connections to enrolled ports are given to the proxy by TPROXY, which here,
// unlike nf_tables' own, drops what it finds no listener for. So it sees two
// kinds of packets only: those that open a connection, and bare answers (ACK)
// without a socket, which complete a connection opened by SYN cookie.
// Everything else finds its socket by itself. NETMAP to everywhere then binds
// the destination to itself, lest somebody's DNAT leads it away.
//
// What comes by a bridge that netfilter looks at (br_netfilter, as Docker has it)
// would lose the socket that TPROXY gave it on its way up, and is redirected by
// REDIRECT. The match for it, physdev, loads br_netfilter, and so is used only
// where that is there already. What stays on such a bridge is told by the
// networks of its addresses.
//
// Cgroups are matched as the folders that they were when their rules were made.
// The id in a rule's name tells a folder that was made anew since. A folder that
// is not there has no rule, as nobody is in it.
//
// # What is refused
//
// Calls to the proxy's own listeners, by RST, as with nftables. Callers of
// enrolled ports get no answer while the proxy is away, as TPROXY drops their
// SYN: they wait and try again, and are let in when the proxy is back. Never do
// they reach the workload. No match of iptables can ask beforehand whether
// another port has a listener (socket looks for the packet's own), and what
// TPROXY drops comes to no later chain that could refuse it.
//
// What iptables has no means for is redirect.ErrNotSupported: leases, and
// exclusions by outgoing interface of what is forwarded.
//
// # How rules change
//
// Chains of a new generation ("a" follows "b" follows "a") come into being beside
// the old ones, the jumps move, and the old ones go, all in one COMMIT for each
// of the four iptables tables. A packet meets the old rules or the new ones of a
// table. IPv4 changes before IPv6, and within a family the tables change in the
// order filter, raw, mangle, nat, milliseconds apart: what is guaranteed is that
// each flow is redirected by old rules or by new ones and never by none, not
// that all change at one instant. If one table or one family fails, those before
// it are put back. A SIGKILL in between leaves each table old or new, which Check
// tells and the next Apply mends.
//
// # Which iptables
//
// There are two kinds, which do not see each other's rules. The engine takes
// the one in which the host has more rules, and nf_tables' where neither has
// any. What is left of ours in the other is deleted.
//
// A host without IPv6 needs no ip6tables. One that has it must have them too, or
// half of its traffic would pass the proxy by.
//
// # Ownership
//
// Chains are ours by their names and jumps by where they lead. Nothing else is
// ever deleted. Built-in chains and tables that iptables made for us stay, empty.
package iptables
