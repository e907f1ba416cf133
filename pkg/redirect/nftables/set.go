//go:build linux

package nftables

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/google/nftables"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// A set is a named set of our table.
type set struct {
	name     string
	kind     kind
	elements []nftables.SetElement
	text     []string // the elements as nft writes them
}

// A kind is what a set holds.
type kind struct {
	name      string
	key       nftables.SetDatatype
	interval  bool
	hostOrder bool // bytes of a key in the host's order, else the network's
	timed     bool // elements run out
	learns    bool // packets add elements
	varies    bool // elements come and go while the rules stay: the name tells nothing of them
}

var (
	typePort  = kind{name: "inet_service", key: nftables.TypeInetService, interval: true}
	typeIP    = kind{name: "ipv4_addr", key: nftables.TypeIPAddr, interval: true}
	typeIP6   = kind{name: "ipv6_addr", key: nftables.TypeIP6Addr, interval: true}
	typeUID   = kind{name: "uid", key: nftables.TypeUID, hostOrder: true}
	typeGID   = kind{name: "gid", key: nftables.TypeGID, hostOrder: true}
	typeName  = kind{name: "ifname", key: nftables.TypeIFName, interval: true, hostOrder: true}
	typeGroup = kind{name: "cgroupsv2", key: nftables.TypeCGroupV2, hostOrder: true, varies: true}
	typeSeen  = kind{name: "ifname", key: nftables.TypeIFName, hostOrder: true, learns: true, varies: true}
	typeMark  = kind{name: "mark", key: nftables.TypeMark, hostOrder: true}
	typeLease = kind{name: "inet_proto", key: nftables.TypeInetProto, timed: true}
)

// learnt bounds the elements that packets add.
const learnt = 1024

// own tells that a set's elements are nobody's wish: they run out, or packets
// add them.
func (k kind) own() bool { return k.timed || k.learns }

func portSet(name string, ports []redirect.PortRange) set {
	s := set{name: name, kind: typePort}
	for _, p := range ports {
		s.addInterval(binary.BigEndian.AppendUint16(nil, p.First), binary.BigEndian.AppendUint16(nil, p.Last))
		s.text = append(s.text, p.String())
	}
	return s
}

// prefixSet takes prefixes of the kind's family.
func prefixSet(name string, prefixes []netip.Prefix, k kind) set {
	s := set{name: name, kind: k}
	for _, p := range prefixes {
		s.addInterval(p.Addr().AsSlice(), lastOf(p).AsSlice())
		text := p.String()
		if p.IsSingleIP() {
			text = p.Addr().String()
		}
		s.text = append(s.text, text)
	}
	return s
}

// idSet holds users or groups.
func idSet(name string, ids []uint32, k kind) set {
	s := set{name: name, kind: k}
	for _, id := range ids {
		s.elements = append(s.elements, nftables.SetElement{Key: host32(id)})
		s.text = append(s.text, fmt.Sprint(id))
	}
	return s
}

// nameSet holds interfaces. A "*" at the end of a name stands for any rest.
func nameSet(name string, interfaces []string) set {
	s := set{name: name, kind: typeName}
	for _, i := range interfaces {
		first := ifname(i)
		last := first
		if stem, isPattern := strings.CutSuffix(i, "*"); isPattern {
			first = ifname(stem)
			last = append([]byte(stem), bytes.Repeat([]byte{0xff}, ifnameSize-len(stem))...)
		}
		s.addInterval(first, last)
		s.text = append(s.text, strconv.Quote(i))
	}
	return s
}

// cgroupSet holds those of the paths that are there.
func cgroupSet(name string, paths []string, c cgroups) set {
	s := set{name: name, kind: typeGroup}
	for _, path := range paths {
		if id, ok := c.ids[path]; ok {
			s.elements = append(s.elements, nftables.SetElement{Key: binary.NativeEndian.AppendUint64(nil, id)})
			s.text = append(s.text, strconv.Quote(c.prefix+path))
		}
	}
	return s
}

func markSet(name string, marks []uint32) set {
	s := set{name: name, kind: typeMark}
	for _, m := range slices.Sorted(slices.Values(marks)) {
		s.elements = append(s.elements, nftables.SetElement{Key: host32(m)})
		s.text = append(s.text, fmt.Sprintf("%#08x", m))
	}
	return s
}

// addInterval adds first to last, both included. The kernel keeps an interval
// as its first key and the key after its last; there is none after the highest.
func (s *set) addInterval(first, last []byte) {
	s.elements = append(s.elements, nftables.SetElement{Key: first})
	end := slices.Clone(last)
	for i := len(end) - 1; i >= 0; i-- {
		end[i]++
		if end[i] != 0 {
			s.elements = append(s.elements, nftables.SetElement{Key: end, IntervalEnd: true})
			return
		}
	}
}

// fingerprint tells a set's content: other content is another set, so that new
// and old can stand side by side while rules change over.
func (s set) fingerprint() string {
	h := sha256.New()
	for _, e := range s.elements {
		fmt.Fprintf(h, "%x %t\n", e.Key, e.IntervalEnd)
	}
	return hex.EncodeToString(h.Sum(nil)[:3])
}

// prefixes reads back what prefixSet wrote, in words of single prefixes.
// Intervals that are no prefix are left out: nobody but us writes these sets.
func (s set) prefixes() []netip.Prefix {
	var starts, ends []netip.Addr
	for _, e := range s.elements {
		addr, ok := netip.AddrFromSlice(e.Key)
		if !ok {
			continue
		}
		if e.IntervalEnd {
			ends = append(ends, addr)
		} else {
			starts = append(starts, addr)
		}
	}
	slices.SortFunc(starts, netip.Addr.Compare)
	slices.SortFunc(ends, netip.Addr.Compare)
	var out []netip.Prefix
	for _, first := range starts {
		i := slices.IndexFunc(ends, func(end netip.Addr) bool { return end.Compare(first) > 0 })
		for bits := range first.BitLen() + 1 {
			p := netip.PrefixFrom(first, bits)
			if p.Masked() != p {
				continue
			}
			after := lastOf(p).Next()
			if (i < 0 && !after.IsValid()) || (i >= 0 && after == ends[i]) {
				out = append(out, p)
				break
			}
		}
	}
	return out
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < p.Addr().BitLen(); bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}
