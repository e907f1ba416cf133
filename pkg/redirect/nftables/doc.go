// Package nftables redirects by one nftables table of our own, written over
// netlink: no nft binary is needed.
//
// # What a packet meets
//
// Inbound, in chains prerouting and inbound: TPROXY hands connections to enrolled
// ports of this host to the proxy's transparent listener. Destination and port
// stay as they were, so the host's own firewall still decides by the real port,
// and neither an ip rule nor a route is needed. In chain inbound_nat their
// destination becomes itself, so that nobody else's destination NAT, such as a
// published port's, takes it away again. While the proxy is away, new connections
// to enrolled ports are refused, as the workload behind them would otherwise be
// open to everybody. With redirect.Rewrite all of that is one REDIRECT.
//
// Outbound, in chains output and outbound: REDIRECT turns the destination into
// the loopback address and the proxy's port; the proxy reads the original one
// with SO_ORIGINAL_DST. Calls to this host's own addresses go straight. Chain
// output says whose calls are meant and who is the proxy, chain outbound what of
// them goes straight. What comes by named interfaces to be forwarded meets chain
// forwarded: REDIRECT makes the interface's own address its destination.
//
// DNS queries are redirected alike (chain queries), UDP and TCP, whatever server
// they ask. The UDP ones are tracked in a conntrack zone of their own (chains dns
// and zones, on the very conditions of output and queries): otherwise the agent's
// query to the real server, sent from a port that an application used a moment
// ago, meets the application's entry and comes back to the agent.
//
// # Owners
//
// The proxy's and the agent's own sockets are known by their marks, and besides
// by what Rules.Proxy says. Users, groups and cgroups are sets, one rule each, of
// the socket that sends a packet; what no socket sends has no owner. A cgroup is
// asked for by its depth in the tree, so there is a set for each depth, such as
// outbound_only_cgroups_2. It keeps its name and has the ids of the folders that
// are there: one that is missing is no difference, and one that comes, goes or is
// made anew is heard of (inotify) and put in at once.
//
// At once is some milliseconds after its processes could call. Where that is too
// late, systemd (255 or newer) fills the set itself before they start:
// NFTSet=cgroup:inet:weft:outbound_only_cgroups_2. It then does what we would.
//
// # What is refused
//
// Two things, both new connections (SYN) to ports that are ours, and both by an
// answer (RST): enrolled ports while the proxy does not listen, and the proxy's
// own listeners when they are called directly instead of by redirection, which
// would make the proxy call itself. Nothing that is established is touched.
//
// One thing is dropped. Where netfilter sees what a bridge carries (br_netfilter,
// as Docker has it), packets lose the socket that TPROXY gave them. The first SYN
// to which that happens is dropped and its bridge added to set bridges; the
// caller's next, a second later, is redirected, and so is all that follows by
// that bridge. The host's firewall meets the listener's port then.
//
// # How rules change
//
// Rules change over in one transaction, which empties chains and fills them
// again. Nothing established notices: inbound connections are found by their
// sockets, outbound ones by conntrack. Sets that are new stand ready before it,
// under names that tell their content, so that no packet ever meets a rule
// whose set the kernel is still filling. From rewriting to keeping destinations
// there is a step between, in which both are done.
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
// messages itself, that counts as a change. That our table is gone is urgent.
//
// # Ownership
//
// Every table of ours has the sets weft_vips and weft_vips6, which list the
// ranges that it wants routed to the loopback device. That is how a table is
// known as ours, and how several agents in one network namespace know which
// routes are still wanted (package route). The kernel's own word for a table that
// is somebody's, the flag owner, is not used: RATIONALE.md says why.
package nftables
