//go:build linux

package nftables

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Rules are compared by their expressions in one canonical text. What we send
// and what the kernel tells back differ in form, never in meaning: the kernel
// adds attributes that hold their default, zero, or what others tell already,
// marks nesting differently and does not repeat the batch-wide number of a set.

// nested lists the attributes whose value is attributes again.
var nested = map[string]map[uint16]bool{
	"cmp":       {unix.NFTA_CMP_DATA: true},
	"immediate": {unix.NFTA_IMMEDIATE_DATA: true},
	"bitwise":   {unix.NFTA_BITWISE_MASK: true, unix.NFTA_BITWISE_XOR: true},
}

// spell writes one expression, NFTA_EXPR_NAME and NFTA_EXPR_DATA.
func spell(b []byte) (string, error) {
	e, err := parse(b)
	if err != nil {
		return "", fmt.Errorf("read expression: %w", err)
	}
	name := e.text(unix.NFTA_EXPR_NAME)
	data, err := parse(e[unix.NFTA_EXPR_DATA])
	if err != nil {
		return "", fmt.Errorf("read expression %s: %w", name, err)
	}
	switch name {
	case "lookup":
		delete(data, unix.NFTA_LOOKUP_SET_ID)
	case "dynset":
		delete(data, unix.NFTA_DYNSET_SET_ID)
	case "nat":
		delete(data, unix.NFTA_NAT_FLAGS) // that there are addresses, which the registers tell; we set none
	}
	var words []string
	for _, typ := range slices.Sorted(maps.Keys(data)) {
		value, err := spellValue(data[typ], nested[name][typ])
		if err != nil {
			return "", fmt.Errorf("read expression %s: %w", name, err)
		}
		if value != "" {
			words = append(words, fmt.Sprintf("%d=%s", typ, value))
		}
	}
	return name + "(" + strings.Join(words, " ") + ")", nil
}

// spellValue is empty for a default.
func spellValue(b []byte, isNested bool) (string, error) {
	if !isNested {
		if len(strings.Trim(string(b), "\x00")) == 0 {
			return "", nil
		}
		return fmt.Sprintf("%x", b), nil
	}
	inner, err := parse(b)
	if err != nil {
		return "", err
	}
	var words []string
	for _, typ := range slices.Sorted(maps.Keys(inner)) {
		if typ != unix.NFTA_DATA_VERDICT {
			words = append(words, fmt.Sprintf("%d:%x", typ, inner[typ]))
			continue
		}
		verdict, err := parse(inner[typ])
		if err != nil {
			return "", err
		}
		words = append(words, fmt.Sprintf("verdict:%x%s", verdict[unix.NFTA_VERDICT_CODE], verdict.text(unix.NFTA_VERDICT_CHAIN)))
	}
	return "{" + strings.Join(words, " ") + "}", nil
}

// spelling is the canonical text of a rule that we want.
func (r rule) spelling() (string, error) {
	var words []string
	for _, p := range r.parts {
		for _, e := range p.exprs {
			b, err := expr.Marshal(unix.NFPROTO_INET, e)
			if err != nil {
				return "", fmt.Errorf("encode rule %q: %w", r.name, err)
			}
			word, err := spell(b)
			if err != nil {
				return "", err
			}
			words = append(words, word)
		}
	}
	return strings.Join(words, " "), nil
}

// spellRule is the canonical text of a rule that the kernel holds.
func spellRule(b []byte) (string, error) {
	list, err := netlink.UnmarshalAttributes(b)
	if err != nil {
		return "", err
	}
	var words []string
	for _, item := range list {
		word, err := spell(item.Data)
		if err != nil {
			return "", err
		}
		words = append(words, word)
	}
	return strings.Join(words, " "), nil
}
