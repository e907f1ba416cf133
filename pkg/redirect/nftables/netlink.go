//go:build linux

package nftables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A reader dumps objects of the inet family in the network namespace of the
// thread that opened it. It reads attributes raw, since whether the kernel
// holds what we wrote is a question about bytes.
type reader struct{ conn *netlink.Conn }

// kernelTime bounds a conversation with the kernel. It takes milliseconds, but for
// the first: then the kernel may have a dozen modules to load, one by one, which on
// an emulated machine was seen to take more than half a minute.
const kernelTime = 2 * time.Minute

func openReader() (*reader, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("open netlink to nf_tables: %w", err)
	}
	if err := conn.SetDeadline(time.Now().Add(kernelTime)); err != nil {
		return nil, errors.Join(fmt.Errorf("open netlink to nf_tables: %w", err), conn.Close())
	}
	return &reader{conn}, nil
}

func (r *reader) close() { _ = r.conn.Close() }

// attrs are the attributes of one object by type, without flags.
type attrs map[uint16][]byte

func (a attrs) text(typ uint16) string {
	b := a[typ]
	if n := len(b); n > 0 && b[n-1] == 0 {
		b = b[:n-1]
	}
	return string(b)
}

func (a attrs) uint32(typ uint16) uint32 {
	if b := a[typ]; len(b) == 4 {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// attrType takes the flags off an attribute's type.
func attrType(t uint16) uint16 { return t &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER) }

func parse(b []byte) (attrs, error) {
	list, err := netlink.UnmarshalAttributes(b)
	if err != nil {
		return nil, err
	}
	a := make(attrs, len(list))
	for _, item := range list {
		a[attrType(item.Type)] = item.Data
	}
	return a, nil
}

// nfgenmsg heads every message: family, version, resource id.
const nfgenmsgLen = 4

func (r *reader) get(msg int, flags netlink.HeaderFlags, family byte, filter ...netlink.Attribute) ([]attrs, error) {
	data, err := netlink.MarshalAttributes(filter)
	if err != nil {
		return nil, err
	}
	replies, err := r.conn.Execute(netlink.Message{
		Header: netlink.Header{
			Type:  netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | msg),
			Flags: netlink.Request | flags,
		},
		Data: append([]byte{family, 0, 0, 0}, data...),
	})
	if err != nil {
		return nil, err
	}
	var out []attrs
	for _, m := range replies {
		if len(m.Data) < nfgenmsgLen {
			return nil, errors.New("short netlink message")
		}
		a, err := parse(m.Data[nfgenmsgLen:])
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

func (r *reader) dump(msg int, filter ...netlink.Attribute) ([]attrs, error) {
	return r.get(msg, netlink.Dump, unix.NFPROTO_INET, filter...)
}

// generation counts the transactions that the namespace's tables have seen.
func (r *reader) generation() (uint32, error) {
	replies, err := r.get(unix.NFT_MSG_GETGEN, 0, unix.NFPROTO_UNSPEC)
	if err != nil {
		return 0, err
	}
	if len(replies) != 1 {
		return 0, fmt.Errorf("nf_tables gave %d generations", len(replies))
	}
	return replies[0].uint32(unix.NFTA_GEN_ID), nil
}

func nameAttr(typ uint16, name string) netlink.Attribute {
	return netlink.Attribute{Type: typ, Data: append([]byte(name), 0)}
}
