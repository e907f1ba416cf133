package mesh

import (
	"slices"
	"strings"
)

// KindByName finds a kind by what documents call it, "TrafficPermission".
func KindByName(name string) (*Kind, bool) {
	return findKind(func(k *Kind) bool { return k.Name == name })
}

// KindByPath finds a kind by its part of a URL, aliases included.
func KindByPath(path string) (*Kind, bool) {
	return findKind(func(k *Kind) bool { return k.Path == path || slices.Contains(k.Aliases, path) })
}

// KindByArg finds a kind by whatever a person calls it: its name, its singular
// or its path, in any case, with dashes or without.
func KindByArg(arg string) (*Kind, bool) {
	arg = folded(arg)
	return findKind(func(k *Kind) bool {
		names := append([]string{k.Name, k.Singular, k.Path}, k.Aliases...)
		return slices.ContainsFunc(names, func(n string) bool { return folded(n) == arg })
	})
}

// NearestKind finds the kind that somebody meant who wrote arg.
func NearestKind(arg string) (*Kind, bool) {
	if k, ok := KindByArg(arg); ok {
		return k, true
	}
	var names []string
	for _, k := range Kinds {
		names = append(names, k.Name, k.Singular)
	}
	near, ok := Nearest(arg, names)
	if !ok {
		return nil, false
	}
	return KindByArg(near)
}

func folded(name string) string { return strings.ToLower(strings.ReplaceAll(name, "-", "")) }

func findKind(is func(*Kind) bool) (*Kind, bool) {
	if i := slices.IndexFunc(Kinds, is); i >= 0 {
		return Kinds[i], true
	}
	return nil, false
}
