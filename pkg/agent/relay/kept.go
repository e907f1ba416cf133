package relay

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// A kept is what outlives the relay: what the receivers took, by kind.
type kept [kindCount]keptKind

type keptKind struct {
	resources []*discoveryv3.Resource // by name
	gone      []string                // asked for, and told not to exist; by name
	state     uint64                  // version of the control plane's store
}

// snapshot returns what is worth keeping. What Envoy refused is not in it.
func (t *table) snapshot() (k kept) {
	for i := range t {
		h := &t[i]
		for _, name := range slices.Sorted(maps.Keys(h.accepted)) {
			k[i].resources = append(k[i].resources, h.accepted[name])
		}
		for name, res := range h.desired {
			if _, asked := h.subs[name]; asked && res == nil && h.accepted[name] == nil {
				k[i].gone = append(k[i].gone, name)
			}
		}
		slices.Sort(k[i].gone)
		k[i].state = h.state
	}
	return k
}

// resume returns a table that begins with what was kept. Nothing that Envoy
// has beyond it is taken away before the control plane has spoken.
func resume(k *kept) table {
	t := newTable()
	for i := range t {
		h := &t[i]
		h.kept, h.state = true, k[i].state
		for _, name := range k[i].gone {
			h.subs[name], h.desired[name] = struct{}{}, nil
		}
		for _, res := range k[i].resources {
			h.desired[res.Name], h.accepted[res.Name] = res, res
			if !h.all {
				h.subs[res.Name] = struct{}{}
			}
		}
	}
	return t
}

// spoken says that the control plane has told of everything that is asked for
// whole, so that the table is its word and no longer what was kept.
func (t *table) spoken() bool {
	for i := range t {
		if t[i].all && !t[i].loaded {
			return false
		}
	}
	return true
}

// settled says that Envoy is owed nothing: what it accepted is a whole.
func (t *table) settled() bool {
	for i := range t {
		if !t[i].own && t[i].busy() {
			return false
		}
	}
	return true
}

// check finds what no snapshot contains.
func (k *kept) check() error {
	for i, kk := range k {
		seen := map[string]bool{}
		for _, res := range kk.resources {
			if res.GetName() == "" || res.GetVersion() == "" || res.GetResource() == nil {
				return fmt.Errorf("one of its %s lacks name, version or content", kinds[i].name)
			}
			if seen[res.Name] {
				return fmt.Errorf("it has two %s called %.100q", kinds[i].name, res.Name)
			}
			seen[res.Name] = true
		}
		for _, name := range kk.gone {
			if name == "" || seen[name] || kinds[i].all {
				return fmt.Errorf("of its %s %.100q cannot be gone", kinds[i].name, name)
			}
			seen[name] = true
		}
		if kinds[i].own && (len(seen) > 1 || len(seen) == 1 && !seen[namesResource]) {
			return fmt.Errorf("it has other %s than %q", kinds[i].name, namesResource)
		}
	}
	for _, res := range k[names].resources {
		if _, err := readNames(res.Resource); err != nil {
			return err
		}
	}
	if len(k[listeners].resources) == 0 {
		return errors.New("it has no listener")
	}
	return nil
}

// String counts, for the log.
func (k *kept) String() string {
	var parts []string
	for i, kk := range k {
		parts = append(parts, fmt.Sprintf("%d %s", len(kk.resources), kinds[i].name))
	}
	return strings.Join(parts, ", ")
}
