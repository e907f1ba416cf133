// Package iptables redirects by iptables and ip6tables, for hosts whose kernel
// has no usable nf_tables or whose owner wants all rules in one place.
//
// # What a packet meets
//
// The same as with the nftables engine, in chains of our own named
// WEFT.<table>.<generation>.<role>. One jump leads from the head of a built-in
// chain to a gate, WEFT.<table>.<role>, and the gate to the generation in force: raw OUTPUT, mangle PREROUTING, nat PREROUTING and OUTPUT,
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
// What iptables has no means for is redirect.ErrNotSupported: exclusions by
// outgoing interface of what is forwarded, and cgroups with the legacy kind.
//
// # How rules change
//
// iptables commits one table of one family at a time. What is common to all of
// them, and to both kinds, is ip_set: a gate leads to generation a while the set
// WEFT.<table>.a has the set WEFT.<table>.all in it, which has every TCP and UDP
// packet, else to generation b alike. The sets are of no family. So the chains of
// the other generation ("a" follows "b" follows "a") come into being beside those
// in force, in every table of both families, and then one message to ip_set
// turns all packets to them; the old chains go afterwards. Whoever is killed, or
// fails, has changed nothing by then or everything, and left chains that Check
// tells and the next Apply clears away.
//
// # Leases
//
// A member of a set can be in it for a time. A trial is that of .all in the set
// of the generation in force: when it runs out, no gate leads anywhere. The
// lease is that of .all in WEFT.<table>.lease, for which the rules of outbound
// and DNS ask. The kernel counts whole seconds; parts of one are made whole.
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
// Chains and sets are ours by their names and jumps by where they lead. Nothing
// else is ever deleted. Built-in chains and tables that iptables made for us stay, empty.
package iptables
