package snapshot

import (
	"cmp"
	"slices"
)

// tcp is what everything speaks in the end.
const tcp = "tcp"

// stacks says on what each protocol rests: whoever speaks the first also
// speaks the others. Two that share no more than TCP are treated as TCP.
var stacks = map[string][]string{
	"grpc":  {"grpc", "http2", tcp},
	"http2": {"http2", tcp},
	"http":  {"http", tcp},
	"kafka": {"kafka", tcp},
	"tls":   {"tls", tcp},
	tcp:     {tcp},
}

// known returns p, or tcp where p is nothing that we know.
func known(p string) string {
	if stacks[p] == nil {
		return tcp
	}
	return p
}

// common returns the highest protocol that all speakers share, "" for none.
func common(speakers map[string]int) string {
	var shared []string
	for p := range speakers {
		if shared == nil {
			shared = stacks[p]
			continue
		}
		i := slices.IndexFunc(shared, func(s string) bool { return slices.Contains(stacks[p], s) })
		shared = shared[i:]
	}
	if shared == nil {
		return ""
	}
	return shared[0]
}

// Common returns the highest protocol that all of the given ones share, tcp
// where there is none.
func Common(protocols ...string) string {
	speakers := map[string]int{}
	for _, p := range protocols {
		speakers[known(p)]++
	}
	return cmp.Or(common(speakers), tcp)
}
