//go:build linux

package nftables

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// transport is the protocol of the packet; 0 where the event does not tell.
func (e event) transport() byte {
	h := e.attrs[unix.NFTA_TRACE_NETWORK_HEADER]
	switch {
	case len(h) >= 20 && h[0]>>4 == 4:
		return h[9]
	case len(h) >= 40 && h[0]>>4 == 6:
		return h[6]
	}
	return 0
}

// packet reads source and destination. Only the first event of a chain has
// them.
func (e event) packet() (from, to netip.AddrPort, ok bool) {
	h, ports := e.attrs[unix.NFTA_TRACE_NETWORK_HEADER], e.attrs[unix.NFTA_TRACE_TRANSPORT_HEADER]
	if e.transport() == 0 || len(ports) < 4 {
		return from, to, false
	}
	src, dst := h[12:16], h[16:20]
	if h[0]>>4 == 6 {
		src, dst = h[8:24], h[24:40]
	}
	at := func(b []byte, port int) netip.AddrPort {
		a, _ := netip.AddrFromSlice(b)
		return netip.AddrPortFrom(a, binary.BigEndian.Uint16(ports[port:]))
	}
	return at(src, 0), at(dst, 2), true
}

var verdicts = map[int32]string{
	0: "drop", 1: "accept", 2: "stolen", 3: "queue",
	unix.NFT_CONTINUE: "continue", unix.NFT_BREAK: "continue", unix.NFT_RETURN: "return", unix.NFT_JUMP: "jump", unix.NFT_GOTO: "goto",
}

// verdict is what the rule or the policy decided.
func (e event) verdict() string {
	if e.uint32(unix.NFTA_TRACE_TYPE) == unix.NFT_TRACETYPE_POLICY {
		return verdicts[int32(e.uint32(unix.NFTA_TRACE_POLICY))]
	}
	v, err := parse(e.attrs[unix.NFTA_TRACE_VERDICT])
	if err != nil {
		return ""
	}
	word := verdicts[int32(v.uint32(unix.NFTA_VERDICT_CODE))&^0xff00] // the code may carry a queue's number
	if code := int32(v.uint32(unix.NFTA_VERDICT_CODE)); code < 0 {
		word = verdicts[code]
	}
	if to := v.text(unix.NFTA_VERDICT_CHAIN); to != "" {
		word += " " + to
	}
	return word
}

var familyNames = map[byte]string{unix.NFPROTO_INET: "inet", unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6", unix.NFPROTO_NETDEV: "netdev", unix.NFPROTO_BRIDGE: "bridge", unix.NFPROTO_ARP: "arp"}

func familyName(family byte) string { return familyNames[family] }

func interfaceName(index uint32) string {
	if index == 0 {
		return ""
	}
	i, err := net.InterfaceByIndex(int(index))
	if err != nil {
		return fmt.Sprint("interface ", index)
	}
	return i.Name
}

// ruleName is a rule's comment, or else its handle; "" where no rule decided.
func (r *reader) ruleName(e event) string {
	b := e.attrs[unix.NFTA_TRACE_RULE_HANDLE]
	if len(b) != 8 {
		return ""
	}
	name := fmt.Sprint("handle ", binary.BigEndian.Uint64(b))
	found, err := r.get(unix.NFT_MSG_GETRULE, 0, e.family,
		nameAttr(unix.NFTA_RULE_TABLE, e.text(unix.NFTA_TRACE_TABLE)), nameAttr(unix.NFTA_RULE_CHAIN, e.text(unix.NFTA_TRACE_CHAIN)),
		netlink.Attribute{Type: unix.NFTA_RULE_HANDLE, Data: b})
	if err != nil || len(found) != 1 {
		return name
	}
	if text := comment(found[0][unix.NFTA_RULE_USERDATA]); text != "" {
		return text
	}
	if text := xtComment(found[0][unix.NFTA_RULE_EXPRESSIONS]); text != "" {
		return text
	}
	return name
}

// xtComment is the comment of a rule that iptables made: a match of that name.
func xtComment(expressions []byte) string {
	list, err := netlink.UnmarshalAttributes(expressions)
	if err != nil {
		return ""
	}
	for _, item := range list {
		e, err := parse(item.Data)
		if err != nil || e.text(unix.NFTA_EXPR_NAME) != "match" {
			continue
		}
		m, err := parse(e[unix.NFTA_EXPR_DATA])
		if err == nil && m.text(unix.NFTA_MATCH_NAME) == "comment" {
			text, _, _ := strings.Cut(string(m[unix.NFTA_MATCH_INFO]), "\x00")
			return text
		}
	}
	return ""
}
