//go:build linux

package nftables

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A part is one condition or statement of a rule: its text in nft's language
// and the kernel expressions that say the same, encoded as nft encodes them.
type part struct {
	text  string
	exprs []expr.Any
	needs string // the kernel option that it takes, when it is not nf_tables alone
}

// A transport is a protocol with ports.
type transport struct {
	name string
	num  byte
}

var (
	tcp = transport{"tcp", unix.IPPROTO_TCP}
	udp = transport{"udp", unix.IPPROTO_UDP}
)

// reg is the one register in use: every part loads it anew.
const reg = 1

func equal(data ...byte) expr.Any  { return &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: data} }
func differ(data ...byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: data} }
func meta(key expr.MetaKey) expr.Any {
	return &expr.Meta{Key: key, Register: reg}
}
func lookup(set string) expr.Any { return &expr.Lookup{SourceRegister: reg, SetName: set} }
func mask(m []byte) expr.Any {
	return &expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: uint32(len(m)), Mask: m, Xor: make([]byte, len(m))}
}
func immediate(data []byte) expr.Any { return &expr.Immediate{Register: reg, Data: data} }
func payload(base expr.PayloadBase, offset, size uint32) expr.Any {
	return &expr.Payload{DestRegister: reg, Base: base, Offset: offset, Len: size}
}

// ifnameSize is IFNAMSIZ of <linux/if.h>: a name and its NUL.
const ifnameSize = 16

// ifname is an interface's name as the kernel compares it.
func ifname(name string) []byte { return append([]byte(name), make([]byte, ifnameSize-len(name))...) }

func host32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
func host16(v uint16) []byte { return binary.NativeEndian.AppendUint16(nil, v) }
func net16(v uint16) []byte  { return binary.BigEndian.AppendUint16(nil, v) }

// Conditions.

func l4proto(t transport) part {
	return part{text: "meta l4proto " + t.name, exprs: []expr.Any{meta(expr.MetaKeyL4PROTO), equal(t.num)}}
}

// Offsets in a TCP or UDP header.
const (
	offSourcePort = 0
	offDestPort   = 2
	offTCPFlags   = 13
)

func port(t transport, field string, offset uint32, match expr.Any, what string) part {
	return part{text: t.name + " " + field + " " + what, exprs: []expr.Any{
		meta(expr.MetaKeyL4PROTO), equal(t.num), payload(expr.PayloadBaseTransportHeader, offset, 2), match}}
}

func portIs(t transport, p uint16) part {
	return port(t, "dport", offDestPort, equal(net16(p)...), fmt.Sprint(p))
}

func portFrom(t transport, p uint16) part {
	return port(t, "sport", offSourcePort, equal(net16(p)...), fmt.Sprint(p))
}

func tcpTo(set string) part {
	return port(tcp, "dport", offDestPort, lookup(set), "@"+set)
}

// tcpSYN is the first packet of a connection and no other.
func tcpSYN() part    { return tcpFlags("==", equal(flagSYN)) }
func tcpNotSYN() part { return tcpFlags("!=", differ(flagSYN)) }

const flagFIN, flagSYN, flagRST, flagACK = 0x01, 0x02, 0x04, 0x10

// tcpFlags stands after a condition that only TCP meets.
func tcpFlags(op string, match expr.Any) part {
	return part{text: "tcp flags & (fin | syn | rst | ack) " + op + " syn", exprs: []expr.Any{
		payload(expr.PayloadBaseTransportHeader, offTCPFlags, 1), mask([]byte{flagFIN | flagSYN | flagRST | flagACK}), match}}
}

func isFamily(family byte, name string) part {
	return part{text: "meta nfproto " + name, exprs: []expr.Any{meta(expr.MetaKeyNFPROTO), equal(family)}}
}

func isIPv4() part { return isFamily(unix.NFPROTO_IPV4, "ipv4") }
func isIPv6() part { return isFamily(unix.NFPROTO_IPV6, "ipv6") }

// Offsets of addresses in the headers of IPv4 and IPv6.
const (
	offSource4, offDestination4 = 12, 16
	offSource6, offDestination6 = 8, 24
)

func address(family byte, text string, offset, size uint32, match expr.Any) part {
	return part{text: text, exprs: []expr.Any{
		meta(expr.MetaKeyNFPROTO), equal(family), payload(expr.PayloadBaseNetworkHeader, offset, size), match}}
}

func ipSource(set string) part {
	return address(unix.NFPROTO_IPV4, "ip saddr @"+set, offSource4, 4, lookup(set))
}

func ipDestination(set string) part {
	return address(unix.NFPROTO_IPV4, "ip daddr @"+set, offDestination4, 4, lookup(set))
}

func ip6Source(set string) part {
	return address(unix.NFPROTO_IPV6, "ip6 saddr @"+set, offSource6, 16, lookup(set))
}

func ip6Destination(set string) part {
	return address(unix.NFPROTO_IPV6, "ip6 daddr @"+set, offDestination6, 16, lookup(set))
}

func fib(text string, match expr.Any) part {
	return part{text: text, needs: "CONFIG_NFT_FIB_INET", exprs: []expr.Any{
		&expr.Fib{Register: reg, ResultADDRTYPE: true, FlagDADDR: true}, match}}
}

func fibLocal() part    { return fib("fib daddr type local", equal(host32(unix.RTN_LOCAL)...)) }
func fibNotLocal() part { return fib("fib daddr type != local", differ(host32(unix.RTN_LOCAL)...)) }

// staysOnSegment is what would go out by the interface that it came in by.
func staysOnSegment() part {
	return part{text: "fib daddr . iif oif exists", needs: "CONFIG_NFT_FIB_INET", exprs: []expr.Any{
		&expr.Fib{Register: reg, ResultOIF: true, FlagDADDR: true, FlagIIF: true, FlagPRESENT: true}, equal(host32(1)...)}}
}

// routedBy is what would go out by an interface, asked before it is routed. nft
// takes no set here. A "*" at the end stands for any rest.
func routedBy(name string) part {
	key := ifname(name)
	if stem, isPattern := strings.CutSuffix(name, "*"); isPattern {
		key = []byte(stem)
	}
	return part{text: fmt.Sprintf("fib daddr oifname %q", name), needs: "CONFIG_NFT_FIB_INET", exprs: []expr.Any{
		&expr.Fib{Register: reg, ResultOIFNAME: true, FlagDADDR: true}, equal(key...)}}
}

func comesBy(set string) part {
	return part{text: "iifname @" + set, exprs: []expr.Any{meta(expr.MetaKeyIIFNAME), lookup(set)}}
}

func leavesBy(set string) part {
	return part{text: "oifname @" + set, exprs: []expr.Any{meta(expr.MetaKeyOIFNAME), lookup(set)}}
}

// metaIIFKind is NFT_META_IIFKIND of <linux/netfilter/nf_tables.h>, which the
// libraries lack.
const metaIIFKind expr.MetaKey = 26

func comesByBridge() part {
	return part{text: `meta iifkind "bridge"`, needs: "Linux 5.6 for kinds of interfaces", exprs: []expr.Any{meta(metaIIFKind), equal(ifname("bridge")...)}}
}

// loopbackIndex is the interface index of lo in every network namespace
// (LOOPBACK_IFINDEX in include/net/flow.h).
const loopbackIndex = 1

func iifLoopback() part {
	return part{text: `iif "lo"`, exprs: []expr.Any{meta(expr.MetaKeyIIF), equal(host32(loopbackIndex)...)}}
}

func oifLoopback() part {
	return part{text: `oif "lo"`, exprs: []expr.Any{meta(expr.MetaKeyOIF), equal(host32(loopbackIndex)...)}}
}

func markIs(m, mark uint32) part {
	return part{text: fmt.Sprintf("meta mark & %#08x == %#08x", m, mark),
		exprs: []expr.Any{meta(expr.MetaKeyMARK), mask(host32(m)), equal(host32(mark)...)}}
}

func markNot(m, mark uint32) part {
	return part{text: fmt.Sprintf("meta mark & %#08x != %#08x", m, mark),
		exprs: []expr.Any{meta(expr.MetaKeyMARK), mask(host32(m)), differ(host32(mark)...)}}
}

func markIn(m uint32, set string) part {
	return part{text: fmt.Sprintf("meta mark & %#08x @%s", m, set),
		exprs: []expr.Any{meta(expr.MetaKeyMARK), mask(host32(m)), lookup(set)}}
}

// userIn, groupIn and cgroupIn match packets of sockets only: what the kernel
// sends on its own behalf has no owner and goes on to the next rule.
func userIn(set string) part {
	return part{text: "meta skuid @" + set, exprs: []expr.Any{meta(expr.MetaKeySKUID), lookup(set)}}
}

func groupIn(set string) part {
	return part{text: "meta skgid @" + set, exprs: []expr.Any{meta(expr.MetaKeySKGID), lookup(set)}}
}

// cgroupIn asks for the folder above the socket's, or its own, that is depth
// steps from the tree's root.
func cgroupIn(depth int) func(set string) part {
	return func(set string) part {
		return part{text: fmt.Sprintf("socket cgroupv2 level %d @%s", depth, set),
			needs: "CONFIG_NFT_SOCKET and CONFIG_SOCK_CGROUP_DATA, and Linux 5.13 for cgroups",
			exprs: []expr.Any{&expr.Socket{Key: expr.SocketKeyCgroupv2, Level: uint32(depth), Register: reg}, lookup(set)}}
	}
}

// isHandedOver is a packet that has a transparent socket, the proxy's.
func isHandedOver() part {
	return part{text: "socket transparent 1", needs: "CONFIG_NFT_SOCKET", exprs: []expr.Any{
		&expr.Socket{Key: expr.SocketKeyTransparent, Register: reg}, equal(1)}}
}

// isAnswer is a packet against the direction in which its connection began.
func isAnswer() part {
	return part{text: "ct direction reply", needs: "CONFIG_NFT_CT", exprs: []expr.Any{
		&expr.Ct{Key: expr.CtKeyDIRECTION, Register: reg}, equal(1)}}
}

// isRedirected is a connection whose destination NAT has changed.
func isRedirected() part  { return dnatStatus("==", equal(host32(dstNAT)...)) }
func notRedirected() part { return dnatStatus("!=", differ(host32(dstNAT)...)) }

const dstNAT = 1 << 5 // IPS_DST_NAT

func dnatStatus(op string, match expr.Any) part {
	return part{text: "ct status & dnat " + op + " dnat", needs: "CONFIG_NFT_CT", exprs: []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATUS, Register: reg}, mask(host32(dstNAT)), match}}
}

// leaseHolds is true while a lease's set has the packet's protocol.
func leaseHolds(set string) part {
	return part{text: "meta l4proto @" + set, exprs: []expr.Any{meta(expr.MetaKeyL4PROTO), lookup(set)}}
}

// leaseOver is leaseHolds the other way round. Other protocols never hold one.
func leaseOver(set string) part {
	return part{text: "meta l4proto != @" + set, exprs: []expr.Any{
		meta(expr.MetaKeyL4PROTO), &expr.Lookup{SourceRegister: reg, SetName: set, Invert: true}}}
}

// Statements.

func accept() part {
	return part{text: "accept", exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}}
}

func drop() part {
	return part{text: "drop", exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}}
}

// learn adds the interface that a packet came in by to a set.
func learn(set string) part {
	return part{text: "add @" + set + " { iifname }", exprs: []expr.Any{
		meta(expr.MetaKeyIIFNAME), &expr.Dynset{SrcRegKey: reg, SetName: set, Operation: unix.NFT_DYNSET_OP_ADD}}}
}

func ret() part {
	return part{text: "return", exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictReturn}}}
}

// continueIn does not come back from the other chain.
func continueIn(chain string) part {
	return part{text: "goto " + chain, exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}}}
}

func jump(chain string) part {
	return part{text: "jump " + chain, exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}}}
}

// tproxy serves both families: with no address given, the kernel takes the
// listener of the packet's own.
func tproxy(to uint16) part {
	return part{text: fmt.Sprintf("tproxy to :%d", to), needs: "CONFIG_NFT_TPROXY", exprs: []expr.Any{
		immediate(net16(to)), &expr.TProxy{Family: unix.NFPROTO_UNSPEC, TableFamily: unix.NFPROTO_INET, RegPort: reg}}}
}

// setMark writes the bits of the mask and leaves the others.
func setMark(m, mark uint32) part {
	return part{text: fmt.Sprintf("meta mark set meta mark & %#08x | %#08x", ^m, mark), exprs: []expr.Any{
		meta(expr.MetaKeyMARK), &expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: host32(^m), Xor: host32(mark)},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: reg, SourceRegister: true}}}
}

// asItIs translates an IPv4 or IPv6 destination to itself, after which nobody
// translates it to another.
func asItIs() part {
	return part{text: "dnat ip to ip daddr", needs: "CONFIG_NFT_NAT", exprs: []expr.Any{
		payload(expr.PayloadBaseNetworkHeader, offDestination4, 4), dnat(unix.NFPROTO_IPV4)}}
}

func asItIs6() part {
	return part{text: "dnat ip6 to ip6 daddr", needs: "CONFIG_NFT_NAT", exprs: []expr.Any{
		payload(expr.PayloadBaseNetworkHeader, offDestination6, 16), dnat(unix.NFPROTO_IPV6)}}
}

func dnat(family uint32) expr.Any {
	return &expr.NAT{Type: expr.NATTypeDestNAT, Family: family, RegAddrMin: reg, RegAddrMax: reg}
}

func redirectTo(to uint16) part {
	return part{text: fmt.Sprintf("redirect to :%d", to), needs: "CONFIG_NFT_REDIR, and Linux 5.2 for NAT in inet tables", exprs: []expr.Any{
		immediate(net16(to)), &expr.Redir{RegisterProtoMin: reg, RegisterProtoMax: reg, Flags: unix.NF_NAT_RANGE_PROTO_SPECIFIED}}}
}

func reset() part {
	return part{text: "reject with tcp reset", needs: "CONFIG_NFT_REJECT_INET, and Linux 5.9 for reject in prerouting", exprs: []expr.Any{
		&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}}}
}

func zone(z uint16) part {
	return part{text: fmt.Sprintf("ct zone set %d", z), needs: "CONFIG_NF_CONNTRACK_ZONES", exprs: []expr.Any{
		immediate(host16(z)), &expr.Ct{Key: expr.CtKeyZONE, Register: reg, SourceRegister: true}}}
}
