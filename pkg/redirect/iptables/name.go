//go:build linux

package iptables

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// prefixAll begins the name of every chain of ours, of whatever table.
const prefixAll = "WEFT."

// maxTable is how much of a table's name fits: chain names have 28 bytes
// (XT_EXTENSION_MAXNAMELEN with its end).
const maxTable = 10

// prefix begins the names of the chains of one table. Dots are in no table's
// name, so that no prefix is the beginning of another. Long names are cut and
// told apart by a hash.
func prefix(table string) string {
	if len(table) > maxTable {
		h := sha256.Sum256([]byte(table))
		table = table[:4] + hex.EncodeToString(h[:3])
	}
	return prefixAll + table + "."
}

// A generation is one of two that take turns.
type generation string

const (
	genA generation = "a"
	genB generation = "b"
)

// generations in the order in which packets ask for them.
var generations = []generation{genA, genB}

func (g generation) next() generation {
	if g == genA {
		return genB
	}
	return genA
}

// gateName is the chain to which a built-in one jumps, for good. It leads to the
// generation in force.
func gateName(table, role string) string { return prefix(table) + role }

func chainName(table string, g generation, role string) string {
	return prefix(table) + string(g) + "." + role
}

// split takes a chain's name apart; a name that no version of ours makes has no
// role.
func split(table, name string) (g generation, role string, ours bool) {
	rest, ours := strings.CutPrefix(name, prefix(table))
	if !ours {
		return "", "", false
	}
	gen, role, ok := strings.Cut(rest, ".")
	if !ok || gen != string(genA) && gen != string(genB) {
		return "", rest, true
	}
	return generation(gen), role, true
}
