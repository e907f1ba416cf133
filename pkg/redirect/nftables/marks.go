//go:build linux

package nftables

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// MarksInUse tells which rules of others look at, or set, bits of packets'
// marks that are ours: in every table of nf_tables, iptables-nft's among them.
// That somebody sets a whole mark to a value without our bits is not told: it
// is what a mark is for, and only a probe can tell whether it comes between.
func MarksInUse(mask uint32) (out []redirect.Difference, err error) {
	r, err := openReader()
	if err != nil {
		return nil, fmt.Errorf("look for marks: %w", explain(err))
	}
	defer r.close()
	for _, family := range []byte{unix.NFPROTO_INET, unix.NFPROTO_IPV4, unix.NFPROTO_IPV6} {
		ours, err := r.ourTables(family)
		if err != nil {
			return nil, fmt.Errorf("look for marks: %w", explain(err))
		}
		rules, err := r.get(unix.NFT_MSG_GETRULE, netlink.Dump, family)
		if err != nil {
			return nil, fmt.Errorf("look for marks: %w", explain(err))
		}
		for _, a := range rules {
			table, chain := a.text(unix.NFTA_RULE_TABLE), a.text(unix.NFTA_RULE_CHAIN)
			if ours[table] || strings.HasPrefix(chain, "WEFT.") {
				continue
			}
			bits, how := markBits(a[unix.NFTA_RULE_EXPRESSIONS], mask)
			if bits == 0 {
				continue
			}
			name := ""
			if b := a[unix.NFTA_RULE_HANDLE]; len(b) == 8 {
				name = fmt.Sprint("handle ", binary.BigEndian.Uint64(b))
			}
			where := familyName(family) + " " + table + " " + chain
			out = append(out, redirect.Difference{
				What: fmt.Sprintf("rule %q of chain %s in table %s %s", name, chain, familyName(family), table),
				Is:   fmt.Sprintf("one that %s mark bits %#x, by which Weft tells its proxy (mask %#x)", how, bits, mask),
				Remedy: fmt.Sprintf("have it use bits outside of %#x, such as %#x/%#x; look at it: nft -a list chain %s",
					mask, free(mask), free(mask), where),
			})
		}
	}
	return out, nil
}

// free is a bit that neither we nor those whom we know use: kube-proxy
// (0xc000), Cilium (0x0f00), Tailscale (0xff0000), Istio (0x539).
func free(mask uint32) uint32 {
	const known = 0xc000 | 0x0f00 | 0xff0000 | 0x539
	for bit := uint32(1) << 24; bit != 0; bit <<= 1 {
		if bit&(mask|known) == 0 {
			return bit
		}
	}
	return 0
}

// ourTables are those that carry our sets.
func (r *reader) ourTables(family byte) (map[string]bool, error) {
	sets, err := r.get(unix.NFT_MSG_GETSET, netlink.Dump, family)
	if err != nil {
		return nil, err
	}
	out := make(map[string]bool)
	for _, a := range sets {
		if a.text(unix.NFTA_SET_NAME) == setVIPs4 {
			out[a.text(unix.NFTA_SET_TABLE)] = true
		}
	}
	return out, nil
}

// markBits are the bits of ours that a rule looks at or sets. Expressions come
// in the order in which they act, each on what the one before left in the register.
func markBits(expressions []byte, ours uint32) (bits uint32, how string) {
	list, err := netlink.UnmarshalAttributes(expressions)
	if err != nil {
		return 0, ""
	}
	var (
		loaded bool         // the register holds a packet's mark
		masked = ^uint32(0) // the bits of it that are left
		value  uint32       // what an immediate put there
	)
	word := func(b []byte) uint32 {
		if len(b) != 4 {
			return 0
		}
		return binary.NativeEndian.Uint32(b)
	}
	nestedWord := func(b []byte) uint32 {
		a, err := parse(b)
		if err != nil {
			return 0
		}
		return word(a[unix.NFTA_DATA_VALUE])
	}
	for _, item := range list {
		e, err := parse(item.Data)
		if err != nil {
			continue
		}
		d, err := parse(e[unix.NFTA_EXPR_DATA])
		if err != nil {
			continue
		}
		switch name := e.text(unix.NFTA_EXPR_NAME); name {
		case "meta":
			mark := d.uint32(unix.NFTA_META_KEY) == unix.NFT_META_MARK
			if _, sets := d[unix.NFTA_META_SREG]; sets && mark {
				changed := value & ours
				if loaded { // mark set mark and/or
					changed = (^masked | value) & ours
				}
				if changed != 0 {
					return changed, "sets"
				}
			}
			loaded, masked, value = mark, ^uint32(0), 0
		case "bitwise":
			masked &= nestedWord(d[unix.NFTA_BITWISE_MASK])
			value = nestedWord(d[unix.NFTA_BITWISE_XOR])
		case "immediate":
			loaded, value = false, nestedWord(d[unix.NFTA_IMMEDIATE_DATA])
		case "cmp":
			looked := masked & ours
			if masked == ^uint32(0) { // the whole mark: its value counts
				looked = nestedWord(d[unix.NFTA_CMP_DATA]) & ours
			}
			if loaded && looked != 0 {
				return looked, "looks at"
			}
			loaded = false
		case "match", "target":
			if bits, how := xtMarkBits(name, d); bits&ours != 0 {
				return bits & ours, how
			}
		default:
			loaded = false
		}
	}
	return 0, ""
}

// xtMarkBits are the bits of iptables' mark match and MARK target: struct
// xt_mark_mtinfo1 and xt_mark_tginfo2, mark and mask.
func xtMarkBits(kind string, d attrs) (bits uint32, how string) {
	info := d[unix.NFTA_MATCH_INFO] // the same number in a target
	name := d.text(unix.NFTA_MATCH_NAME)
	if len(info) < 8 {
		return 0, ""
	}
	mark, mask := binary.NativeEndian.Uint32(info), binary.NativeEndian.Uint32(info[4:])
	switch {
	case kind == "match" && name == "mark" && mask == ^uint32(0):
		return mark, "looks at"
	case kind == "match" && name == "mark":
		return mask, "looks at"
	case kind == "target" && name == "MARK" && mask == ^uint32(0):
		return mark, "sets"
	case kind == "target" && name == "MARK":
		return mask | mark, "sets"
	}
	return 0, ""
}
