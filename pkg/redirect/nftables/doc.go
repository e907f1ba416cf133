// Package nftables redirects by one nftables table of our own, written over
// netlink: no nft binary is needed.
//
// # What a packet meets
//
// Inbound, in chains prerouting and inbound: TPROXY hands connections to enrolled ports of
// this host to the proxy's transparent listener. Destination and port stay as
// they were, so the host's own firewall still decides by the real port, and
// neither an ip rule nor a route is needed. While the proxy is away, new
// connections to enrolled ports are refused, as the workload behind them would
// otherwise be open to everybody.
//
// Outbound, in chain output: REDIRECT turns the destination into the loopback
// address and the proxy's port; the proxy reads the original one with
// SO_ORIGINAL_DST. Calls to this host's own addresses go straight.
//
// DNS queries are redirected alike, UDP and TCP, whatever server they ask.
// The UDP ones are tracked in a conntrack zone of their own (chain dns):
// otherwise the agent's query to the real server, sent from a port that an
// application used a moment ago, meets the application's entry and comes back
// to the agent.
//
// The proxy's and the agent's own sockets are known by their marks, and by
// nothing else.
//
// # What is refused
//
// Only two things, both new connections (SYN) to ports that are ours, and both
// by an answer (RST), never by silence: enrolled ports while the proxy does not
// listen, and the proxy's own listeners when they are called directly instead
// of by redirection, which would make the proxy call itself. Nothing that is
// established is touched, and no rule drops.
//
// # How rules change
//
// Rules change over in one transaction, which empties chains and fills them
// again. Nothing established notices: inbound connections are found by their
// sockets, outbound ones by conntrack. Sets that are new stand ready before it,
// under names that tell their content, so that no packet ever meets a rule
// whose set the kernel is still filling.
//
// # Rules for a time
//
// What is to end by itself hangs on a set whose elements, the protocols TCP and
// UDP, have a timeout: the kernel ends it, whoever is still alive. Set lease
// (Rules.FailOpen) is a condition of the rules that redirect DNS and outbound
// calls; it stands behind the rule for VIPs, so that calls to services are
// refused when nobody serves them instead of waiting for an answer from
// nowhere. Set trial (Rules.ConfirmWithin) is asked first in every hooked
// chain. Renewing changes elements and no rule. How much time an element has
// is no difference to the rules, and that it ran out is none either.
//
// # What is heard
//
// The kernel tells every change to tables, routes and devices (Watch), and for
// tables also who made it: the thread, by number and name. What concerns other
// tables is dropped by its first attribute. Where the kernel had to drop
// messages itself, that counts as a change.
//
// # Ownership
//
// Every table of ours has the sets weft_vips and weft_vips6, which list the
// ranges that it wants routed to the loopback device. That is how a table is
// known as ours, and how several agents in one network namespace know which
// routes are still wanted. Our routes carry protocol 87 (RouteProtocol).
package nftables
