//go:build linux

package iptables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// Messages and attributes of ip_set, of which we speak the first protocol, as
// every kernel with ip_set does. Source: include/uapi/linux/netfilter/ipset/ip_set.h.
const (
	setSubsystem = 6 // NFNL_SUBSYS_IPSET
	setProtocol  = 6

	setCreate  = 2
	setDestroy = 3
	setList    = 7
	setAdd     = 9
	setDelete  = 10

	setAttrProtocol = 1
	setAttrName     = 2
	setAttrType     = 3
	setAttrRevision = 4
	setAttrFamily   = 5
	setAttrFlags    = 6
	setAttrData     = 7
	setAttrMembers  = 8

	setDataPort     = 4
	setDataPortTo   = 5
	setDataTimeout  = 6
	setDataMember   = 18
	setDataSize     = 23
	setDataElements = 24

	setHeadersOnly = 1 << 2

	// Errors of ip_set's own.
	setErrNoType   = unix.Errno(4096 + 2)
	setErrBusy     = unix.Errno(4096 + 4)
	setErrNoMember = unix.Errno(4096 + 7) // what is to go is not there
	setErrNoSet    = unix.Errno(4352)     // nor is a set of that name
)

// Kinds of sets. Both are of no family: what they hold is so for IPv4 and IPv6
// at one moment.
const (
	kindPorts = "bitmap:port" // of every port, here: each TCP and UDP packet is in it
	kindList  = "list:set"    // of sets, each for a time or for ever
)

// A heldSet is a set of ours in the kernel.
type heldSet struct {
	name, kind string
	entries    int // of kindPorts; -1 where the kernel does not count them
	members    []member
}

// A member of a list is in it until left has run out; 0 is for ever.
type member struct {
	name string
	left time.Duration
}

// A setConn speaks with the ip_set of the network namespace in which it was made.
type setConn struct{ *netlink.Conn }

func dialSets() (*setConn, error) {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("speak with ip_set: %w", err)
	}
	return &setConn{c}, nil
}

// withSets speaks with the calling thread's ip_set.
func withSets(do func(c *setConn) error) error {
	c, err := dialSets()
	if err != nil {
		return err
	}
	return errors.Join(do(c), c.Close())
}

// ask sends a message about a set; "" is about all.
func (c *setConn) ask(command int, flags netlink.HeaderFlags, name string, more func(*netlink.AttributeEncoder)) ([]netlink.Message, error) {
	e := netlink.NewAttributeEncoder()
	e.ByteOrder = binary.BigEndian
	e.Uint8(setAttrProtocol, setProtocol)
	if name != "" {
		e.String(setAttrName, name)
	}
	if more != nil {
		more(e)
	}
	b, err := e.Encode()
	if err != nil {
		return nil, err
	}
	return c.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(setSubsystem<<8 | command), Flags: netlink.Request | netlink.Acknowledge | flags},
		Data:   append([]byte{unix.AF_INET, 0, 0, 0}, b...), // struct nfgenmsg
	})
}

const networkOrder = unix.NLA_F_NET_BYTEORDER

// create makes a set where it is not there yet.
func (c *setConn) create(name, kind string) error {
	_, err := c.ask(setCreate, 0, name, func(e *netlink.AttributeEncoder) {
		e.String(setAttrType, kind)
		e.Uint8(setAttrRevision, 0)
		e.Uint8(setAttrFamily, unix.NFPROTO_UNSPEC)
		e.Nested(setAttrData, func(e *netlink.AttributeEncoder) error {
			if kind == kindPorts {
				everyPort(e)
				return nil
			}
			e.Uint32(setDataSize|networkOrder, listSize)
			e.Uint32(setDataTimeout|networkOrder, 0) // for ever, where a member has no time
			return nil
		})
	})
	return c.told("make", name, err)
}

// listSize is how many members a list of ours has room for.
const listSize = 4

func everyPort(e *netlink.AttributeEncoder) {
	const last = 1<<16 - 1
	e.Uint16(setDataPort|networkOrder, 0)
	e.Uint16(setDataPortTo|networkOrder, last)
}

// fill makes a set of ports one of every port.
func (c *setConn) fill(name string) error {
	_, err := c.ask(setAdd, 0, name, func(e *netlink.AttributeEncoder) {
		e.Nested(setAttrData, func(e *netlink.AttributeEncoder) error { everyPort(e); return nil })
	})
	return c.told("fill", name, err)
}

// add puts a member into a list for a time, in whole seconds, or for ever. One
// that is there gets its time anew, and is there at every moment.
func (c *setConn) add(list, name string, d time.Duration) error {
	_, err := c.ask(setAdd, 0, list, func(e *netlink.AttributeEncoder) {
		e.Nested(setAttrData, func(e *netlink.AttributeEncoder) error {
			e.String(setDataMember, name)
			e.Uint32(setDataTimeout|networkOrder, seconds(d))
			return nil
		})
	})
	return c.told("switch on", list, err)
}

// seconds are whole ones, of which ip_set counts no fractions: a lease is
// sooner too long than too short.
func seconds(d time.Duration) uint32 { return uint32((d + time.Second - 1) / time.Second) }

// remove takes a member out of a list, if it is there.
func (c *setConn) remove(list, name string) error {
	_, err := c.ask(setDelete, 0, list, func(e *netlink.AttributeEncoder) {
		e.Nested(setAttrData, func(e *netlink.AttributeEncoder) error { e.String(setDataMember, name); return nil })
	})
	if errors.Is(err, setErrNoMember) || errors.Is(err, setErrNoSet) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return c.told("switch off", list, err)
}

// destroyTime bounds the wait for rules that nf_tables has taken off and not
// yet cleared away, which it does a moment later.
const destroyTime = 5 * time.Second

// destroy takes a set away, if it is there.
func (c *setConn) destroy(name string) error {
	retry := time.NewTicker(2 * time.Millisecond)
	defer retry.Stop()
	for deadline := time.Now().Add(destroyTime); ; <-retry.C {
		_, err := c.ask(setDestroy, 0, name, nil)
		switch {
		case errors.Is(err, unix.ENOENT):
			return nil
		case errors.Is(err, setErrBusy) && time.Now().Before(deadline):
			continue
		}
		return c.told("destroy", name, err)
	}
}

// list reads the sets whose names begin so. A kernel without ip_set has none.
func (c *setConn) list(prefix string) ([]heldSet, error) {
	headers, err := c.ask(setList, netlink.Dump, "", func(e *netlink.AttributeEncoder) { e.Uint32(setAttrFlags|networkOrder, setHeadersOnly) })
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, c.told("list", prefix, err)
	}
	sets, err := readSets(headers)
	if err != nil {
		return nil, err
	}
	sets = slices.DeleteFunc(sets, func(s heldSet) bool { return !strings.HasPrefix(s.name, prefix) })
	for i, s := range sets {
		if s.kind != kindList {
			continue
		}
		whole, err := c.ask(setList, netlink.Dump, s.name, nil)
		if errors.Is(err, unix.ENOENT) {
			continue // gone meanwhile
		}
		if err != nil {
			return nil, c.told("list", s.name, err)
		}
		one, err := readSets(whole)
		if err != nil {
			return nil, err
		}
		if len(one) == 1 {
			sets[i] = one[0]
		}
	}
	return sets, nil
}

// readSets reads what a list command answers: a set may take several messages.
func readSets(messages []netlink.Message) (out []heldSet, err error) {
	for _, m := range messages {
		if len(m.Data) < nfgenmsgLen || m.Header.Type>>8 != setSubsystem {
			continue
		}
		s := heldSet{entries: -1}
		d, err := netlink.NewAttributeDecoder(m.Data[nfgenmsgLen:])
		if err != nil {
			return nil, fmt.Errorf("read sets: %w", err)
		}
		for d.Next() {
			switch d.Type() {
			case setAttrName:
				s.name = d.String()
			case setAttrType:
				s.kind = d.String()
			case setAttrData:
				d.Nested(func(d *netlink.AttributeDecoder) error {
					d.ByteOrder = binary.BigEndian
					for d.Next() {
						if d.Type() == setDataElements {
							s.entries = int(d.Uint32())
						}
					}
					return nil
				})
			case setAttrMembers:
				d.Nested(func(d *netlink.AttributeDecoder) error {
					for d.Next() {
						d.Nested(s.readMember)
					}
					return nil
				})
			}
		}
		if err := d.Err(); err != nil {
			return nil, fmt.Errorf("read sets: %w", err)
		}
		if n := len(out); n > 0 && out[n-1].name == s.name {
			out[n-1].members = append(out[n-1].members, s.members...)
			continue
		}
		out = append(out, s)
	}
	return out, nil
}

func (s *heldSet) readMember(d *netlink.AttributeDecoder) error {
	d.ByteOrder = binary.BigEndian
	var m member
	for d.Next() {
		switch d.Type() {
		case setDataMember:
			m.name = d.String()
		case setDataTimeout:
			m.left = time.Duration(d.Uint32()) * time.Second
		}
	}
	if m.name != "" {
		s.members = append(s.members, m)
	}
	return nil
}

// told turns what ip_set says into the words of package redirect.
func (c *setConn) told(verb, name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: it takes CAP_NET_ADMIN in this network namespace; run as root (%s set %s: %w)", redirect.ErrNotPermitted, verb, name, err)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, setErrNoType):
		return fmt.Errorf("%w: the kernel has no sets by which all rules of iptables change at once; it needs CONFIG_IP_SET, CONFIG_IP_SET_BITMAP_PORT and CONFIG_IP_SET_LIST_SET "+
			"(modules ip_set, ip_set_bitmap_port, ip_set_list_set), else use the nftables engine (%s set %s: %w)", redirect.ErrNotSupported, verb, name, err)
	case errors.Is(err, unix.EEXIST):
		return fmt.Errorf("set %s is there and is not what we need: delete it (ipset destroy %[1]s): %w", name, err)
	case errors.Is(err, setErrBusy):
		return fmt.Errorf("set %s is used by somebody's rules: delete those (iptables-save | grep %[1]s): %w", name, err)
	}
	return fmt.Errorf("%s set %s: %w", verb, name, err)
}
