//go:build linux

package ebpf

import (
	"errors"
	"path/filepath"

	"github.com/cilium/ebpf"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// follow writes cgroups that are there into the generation in force. Where there
// is none of our layout it fails, and it is the next Apply's to do.
func follow(at place, r redirect.Rules, ids map[string]uint64) error {
	m := make(pinned)
	defer m.close()
	for _, name := range []string{"about", "current", "owners"} {
		one, err := ebpf.LoadPinnedMap(filepath.Join(mapsIn(at.dir()), name), nil)
		if err != nil {
			return err
		}
		m[name] = one
	}
	v, err := m.version()
	if err != nil || v.Layout != layout {
		return errors.Join(err, redirect.ErrNotInForce)
	}
	c, ok, err := m.config()
	if err != nil || !ok {
		return errors.Join(err, redirect.ErrNotInForce)
	}
	for o, roles := range build(r, facts{cgroups: ids}).owners {
		if o.by != byCgroup {
			continue
		}
		if err := m["owners"].Put(programOwnerKey{Generation: c.Generation, By: o.by, Id: o.id}, roles); err != nil {
			return err
		}
	}
	return nil
}

// cgroupsOf are all cgroups that rules name.
func cgroupsOf(r redirect.Rules) (paths []string) {
	for _, o := range []redirect.Owners{r.Proxy, r.Outbound.Only, r.Outbound.Exclude, r.DNS.Exclude} {
		paths = append(paths, o.Cgroups...)
	}
	return paths
}
