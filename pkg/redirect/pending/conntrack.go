//go:build linux

package pending

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// Forget deletes the entries of connection tracking that pending calls have, if
// rules, which are in force by NAT, redirect them.
//
// NAT is chosen with a connection's first packet. Where somebody else keeps
// connection tracking on, a call that began without the rules has an entry
// without NAT, to which all that it sends again belongs: to an address that only
// the proxy can reach it would call in vain until its caller gives up. Without the
// entry its next SYN is a first one. What is answered, forwarded or translated by
// others stays as it is. Queries by UDP need none of it: redirected ones are
// tracked in a zone of their own, where no entry is from before.
func Forget(r redirect.Rules) error {
	all, err := calls(r)
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range all {
		if err := c.forget(); err != nil && !lacking(err) {
			errs = append(errs, fmt.Errorf("forget the tracked connection %s -> %s: %w", c.Local, c.Remote, err))
		}
	}
	return errors.Join(errs...)
}

// Messages, attributes and bits of ctnetlink. Sources:
// include/uapi/linux/netfilter/nfnetlink_conntrack.h, nf_conntrack_common.h.
const (
	getEntry    = 1
	deleteEntry = 2

	attrOriginal = 1 // addresses and ports as the caller has them
	attrStatus   = 3
	attrID       = 12

	attrAddresses = 1
	attrProtocol  = 2

	source4, destination4 = 1, 2
	source6, destination6 = 3, 4

	protocolNumber, sourcePort, destinationPort = 1, 2, 3

	answered              = 1 << 1 // IPS_SEEN_REPLY
	destinationTranslated = 1 << 5 // IPS_DST_NAT

	headerLen = 4 // struct nfgenmsg: family, version, resource id
)

// forget deletes the entry. Whoever is answered in the moment between look and
// deletion has the connection that he would have had.
func (c call) forget() error {
	replies, err := c.ask(getEntry, nil)
	if err != nil {
		return err
	}
	if len(replies) != 1 || len(replies[0]) < headerLen {
		return fmt.Errorf("the kernel gave %d answers", len(replies))
	}
	d, err := netlink.NewAttributeDecoder(replies[0][headerLen:])
	if err != nil {
		return err
	}
	d.ByteOrder = binary.BigEndian
	var status, id uint32
	for d.Next() {
		switch d.Type() {
		case attrStatus:
			status = d.Uint32()
		case attrID:
			id = d.Uint32()
		}
	}
	if err := d.Err(); err != nil || status&(answered|destinationTranslated) != 0 {
		return err
	}
	_, err = c.ask(deleteEntry, func(e *netlink.AttributeEncoder) { e.Uint32(attrID, id) })
	return err
}

// ask sends a message about the entry. An answer says of itself that it is of
// several parts, and only what acknowledges it ends it, which package nl takes for
// the end.
func (c call) ask(command int, more func(*netlink.AttributeEncoder)) ([][]byte, error) {
	from, to := c.Local, c.Remote
	family, source, destination := byte(unix.AF_INET), uint16(source4), uint16(destination4)
	if to.Addr().Is6() {
		family, source, destination = unix.AF_INET6, source6, destination6
	}
	e := netlink.NewAttributeEncoder()
	e.ByteOrder = binary.BigEndian
	e.Nested(attrOriginal, func(e *netlink.AttributeEncoder) error {
		e.Nested(attrAddresses, func(e *netlink.AttributeEncoder) error {
			e.Bytes(source, from.Addr().AsSlice())
			e.Bytes(destination, to.Addr().AsSlice())
			return nil
		})
		e.Nested(attrProtocol, func(e *netlink.AttributeEncoder) error {
			e.Uint8(protocolNumber, unix.IPPROTO_TCP)
			e.Uint16(sourcePort, from.Port())
			e.Uint16(destinationPort, to.Port())
			return nil
		})
		return nil
	})
	if more != nil {
		more(e)
	}
	b, err := e.Encode()
	if err != nil {
		return nil, err
	}
	r := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_CTNETLINK<<8|command, unix.NLM_F_ACK)
	r.AddRawData(append([]byte{family, 0, 0, 0}, b...))
	return r.Execute(unix.NETLINK_NETFILTER, 0)
}
