//go:build linux

package nftables

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect/route"
)

// A held is what the kernel holds under our table's name, and what concerns us
// beyond it.
type held struct {
	exists bool
	ours   bool // made by this package
	flags  uint32
	chains []heldChain
	sets   []heldSet
	// otherVIPs are the ranges that other tables of ours want routed.
	otherVIPs []netip.Prefix
	routes    route.Table
}

// foreign is somebody else's table. An empty one is anybody's.
func (h held) foreign() bool { return h.exists && !h.ours && len(h.sets)+len(h.chains) > 0 }

type heldChain struct {
	name     string
	base     bool
	kind     nftables.ChainType
	hook     nftables.ChainHook
	priority int32
	policy   uint32
	rules    []heldRule
}

type heldRule struct{ comment, spelling string }

type heldSet struct {
	set
	flags, keyType, keyLen uint32
}

// errChanging: the tables changed while we read them, or between reading and
// writing.
var errChanging = errors.New("somebody keeps changing the tables")

// readAttempts bounds how often we start anew when somebody else writes: one
// takes a few milliseconds, and writers in a loop keep on longer than ten.
const readAttempts = 200

// read takes one consistent picture: no transaction happened while it was taken.
func read(table string) (held, error) {
	r, err := openReader()
	if err != nil {
		return held{}, explain(err)
	}
	defer r.close()
	for range readAttempts {
		before, err := r.generation()
		if err != nil {
			return held{}, fmt.Errorf("read nf_tables: %w", explain(err))
		}
		h, err := r.read(table)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return held{}, fmt.Errorf("read table inet %s: %w", table, explain(err))
		}
		after, genErr := r.generation()
		if genErr != nil {
			return held{}, fmt.Errorf("read nf_tables: %w", explain(genErr))
		}
		if err == nil && before == after {
			h.routes, err = route.Nftables.Read()
			return h, err
		}
	}
	return held{}, fmt.Errorf("read table inet %s: %w", table, errChanging)
}

func (r *reader) read(table string) (held, error) {
	var h held
	tables, err := r.dump(unix.NFT_MSG_GETTABLE)
	if err != nil {
		return h, err
	}
	for _, t := range tables {
		if t.text(unix.NFTA_TABLE_NAME) == table {
			h.exists, h.flags = true, t.uint32(unix.NFTA_TABLE_FLAGS)
		}
	}
	sets, err := r.dump(unix.NFT_MSG_GETSET)
	if err != nil {
		return h, err
	}
	marked := make(map[string]int)
	for _, a := range sets {
		owner, name := a.text(unix.NFTA_SET_TABLE), a.text(unix.NFTA_SET_NAME)
		isVIPs := name == setVIPs4 || name == setVIPs6
		if isVIPs {
			marked[owner]++
		}
		if owner != table && !isVIPs {
			continue
		}
		s := heldSet{set: set{name: name}, flags: a.uint32(unix.NFTA_SET_FLAGS),
			keyType: a.uint32(unix.NFTA_SET_KEY_TYPE), keyLen: a.uint32(unix.NFTA_SET_KEY_LEN)}
		if s.elements, err = r.elements(owner, name); err != nil {
			return h, err
		}
		if owner == table {
			h.sets = append(h.sets, s)
		} else {
			h.otherVIPs = append(h.otherVIPs, s.prefixes()...)
		}
	}
	if h.exists {
		if h.chains, err = r.chains(table); err != nil {
			return h, err
		}
	}
	h.ours = marked[table] == 2
	return h, nil
}

func (r *reader) elements(table, name string) ([]nftables.SetElement, error) {
	// Unlike rules, elements come in messages of many.
	msgs, err := r.dump(unix.NFT_MSG_GETSETELEM,
		nameAttr(unix.NFTA_SET_ELEM_LIST_TABLE, table), nameAttr(unix.NFTA_SET_ELEM_LIST_SET, name))
	if err != nil {
		return nil, err
	}
	var out []nftables.SetElement
	for _, msg := range msgs {
		list, err := netlink.UnmarshalAttributes(msg[unix.NFTA_SET_ELEM_LIST_ELEMENTS])
		if err != nil {
			return nil, err
		}
		for _, item := range list {
			a, err := parse(item.Data)
			if err != nil {
				return nil, err
			}
			key, err := parse(a[unix.NFTA_SET_ELEM_KEY])
			if err != nil {
				return nil, err
			}
			out = append(out, nftables.SetElement{
				Key:         key[unix.NFTA_DATA_VALUE],
				IntervalEnd: a.uint32(unix.NFTA_SET_ELEM_FLAGS)&unix.NFT_SET_ELEM_INTERVAL_END != 0,
			})
		}
	}
	// nft opens a set of intervals with the end of nothing at the lowest key.
	out = slices.DeleteFunc(out, func(e nftables.SetElement) bool {
		return e.IntervalEnd && len(bytes.Trim(e.Key, "\x00")) == 0
	})
	sortElements(out)
	return out, nil
}

func sortElements(e []nftables.SetElement) {
	slices.SortFunc(e, func(a, b nftables.SetElement) int {
		if c := bytes.Compare(a.Key, b.Key); c != 0 || a.IntervalEnd == b.IntervalEnd {
			return c
		}
		if a.IntervalEnd {
			return -1
		}
		return 1
	})
}

func (r *reader) chains(table string) ([]heldChain, error) {
	msgs, err := r.dump(unix.NFT_MSG_GETCHAIN)
	if err != nil {
		return nil, err
	}
	var out []heldChain
	for _, a := range msgs {
		if a.text(unix.NFTA_CHAIN_TABLE) != table {
			continue
		}
		c := heldChain{name: a.text(unix.NFTA_CHAIN_NAME), policy: a.uint32(unix.NFTA_CHAIN_POLICY)}
		if b, ok := a[unix.NFTA_CHAIN_HOOK]; ok {
			at, err := parse(b)
			if err != nil {
				return nil, err
			}
			c.base, c.kind = true, nftables.ChainType(a.text(unix.NFTA_CHAIN_TYPE))
			c.hook = nftables.ChainHook(at.uint32(unix.NFTA_HOOK_HOOKNUM))
			c.priority = int32(at.uint32(unix.NFTA_HOOK_PRIORITY))
		}
		if c.rules, err = r.rules(table, c.name); err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b heldChain) int { return cmp.Compare(a.name, b.name) })
	return out, nil
}

func (r *reader) rules(table, chain string) ([]heldRule, error) {
	msgs, err := r.dump(unix.NFT_MSG_GETRULE, nameAttr(unix.NFTA_RULE_TABLE, table), nameAttr(unix.NFTA_RULE_CHAIN, chain))
	if err != nil {
		return nil, err
	}
	var out []heldRule
	for _, a := range msgs {
		spelling, err := spellRule(a[unix.NFTA_RULE_EXPRESSIONS])
		if err != nil {
			return nil, err
		}
		out = append(out, heldRule{comment: comment(a[unix.NFTA_RULE_USERDATA]), spelling: spelling})
	}
	return out, nil
}

// comment finds the comment in a rule's user data: records of type, length and
// value, which anybody may have written.
func comment(b []byte) string {
	for len(b) >= 2 && len(b) >= 2+int(b[1]) {
		value := b[2 : 2+int(b[1])]
		if userdata.Type(b[0]) == userdata.TypeComment {
			return string(bytes.TrimSuffix(value, []byte{0}))
		}
		b = b[2+int(b[1]):]
	}
	return ""
}
