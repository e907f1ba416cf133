//go:build linux

package ebpf

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"

	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/route"
	"github.com/weft-mesh/weft/pkg/redirect/sockets"
)

// held is what the host has of ours. Its maps are to be closed.
type held struct {
	exists   bool
	usable   bool // its maps are those of this build's layout
	maps     pinned
	current  bool // and so are its programs
	links    []hanging
	config   programConfig
	inForce  bool
	entries  entries
	adopted  map[slot]uint64
	otherVIP []netip.Prefix // of other tables in this network namespace
	routes   route.Table
}

func (h *held) close() { h.maps.close() }

// read looks at a place. The caller closes what it returns.
func read(p place) (h held, err error) {
	if h.routes, err = route.EBPF.Read(); err != nil {
		return h, err
	}
	if h.otherVIP, err = otherVIPs(p); err != nil {
		return h, err
	}
	if _, err := os.Stat(p.dir()); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return h, nil
		}
		return h, fmt.Errorf("look at pins: %w", explain(err))
	}
	h.exists = true
	if h.links, err = readLinks(p.dir()); err != nil {
		return h, err
	}
	if h.maps, h.usable, err = openMaps(p.dir()); err != nil || !h.usable {
		return h, err
	}
	err = h.readMaps()
	if err != nil {
		h.close()
	}
	return h, err
}

func (h *held) readMaps() error {
	v, err := h.maps.version()
	if err != nil {
		return fmt.Errorf("read map about: %w", err)
	}
	h.usable = v.Layout == layout
	h.current = h.usable && v.Programs == programsVersion()
	if !h.usable {
		return nil
	}
	if h.config, h.inForce, err = h.maps.config(); err != nil {
		return err
	}
	if h.entries, err = h.maps.entries(); err != nil {
		return err
	}
	h.adopted, err = h.maps.adopted()
	return err
}

// otherVIPs are the ranges that other tables here want routed.
func otherVIPs(p place) (out []netip.Prefix, err error) {
	dirs, err := p.others()
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		maps, ok, err := openMaps(dir)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue // removed just now, or of another version, whose agent puts its routes back
		}
		found, err := vipsIn(maps)
		maps.close()
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

func vipsIn(maps pinned) (out []netip.Prefix, err error) {
	c, ok, err := maps.config()
	if err != nil || !ok {
		return nil, err
	}
	e, err := maps.entries()
	if err != nil {
		return nil, err
	}
	for k := range e.networks {
		if n := networkOf(k); k.Generation == c.Generation && n.kind == vips {
			out = append(out, n.prefix)
		}
	}
	return out, nil
}

// A scene is a place with everything around it that Apply and Check need.
type scene struct {
	place     place
	tree      tree
	hanger    hanger
	wish      wish
	listeners map[slot]sockets.Socket
}

func (s *scene) close() { _ = s.hanger.netns.Close() }

// scene finds out where and what. The caller closes it.
func (e *Engine) scene(r redirect.Rules) (s scene, err error) {
	if s.tree, err = findTree(e.cgroup); err != nil {
		return s, err
	}
	f, err := look(r, s.tree)
	if err != nil {
		return s, err
	}
	s.place = place{bpffs: e.pins, table: r.Table, netns: f.netns}
	s.wish = build(r, f)
	if s.listeners, err = proxyListeners(r); err != nil {
		return s, err
	}
	s.hanger.tree = s.tree
	s.hanger.netns, err = openNetns()
	return s, err
}

// A wanted is a link that should be there.
type wanted struct {
	name   string
	hook   hook
	target uint64
	cgroup string // the folder, for hooks on the proxy's
}

// links are those that should be there. While nobody listens, those on the
// cgroup of the proxy that was there last are right, and so is our own, from
// which the agent starts it.
func (s *scene) links(have held) ([]wanted, error) {
	var out []wanted
	tree, err := s.tree.id(s.tree.attach)
	if err != nil {
		return nil, err
	}
	for _, h := range hooks {
		switch h.on {
		case onTree:
			out = append(out, wanted{name: h.name, hook: h, target: tree})
		case onNetns:
			out = append(out, wanted{name: h.name, hook: h, target: uint64(s.wish.config.NetnsInode)})
		case onProxy:
			for id, at := range s.proxyCgroups(have) {
				out = append(out, wanted{name: proxyLink(id), hook: h, target: id, cgroup: at})
			}
		}
	}
	return out, nil
}

func (s *scene) proxyCgroups(have held) map[uint64]string {
	out := make(map[uint64]string)
	if s.wish.config.OutboundTo == 0 {
		return out
	}
	add := func(id uint64) {
		if at, err := s.tree.path(id); err == nil {
			out[id] = at
		}
	}
	for slot, l := range s.listeners {
		if slot.Kind == toProxy {
			add(l.Cgroup)
		}
	}
	for o := range s.wish.owners {
		if o.by == byCgroup && s.wish.owners[o]&isProxy != 0 {
			add(o.id)
		}
	}
	if len(out) > 0 {
		return out
	}
	for _, l := range have.links {
		if l.hook.on == onProxy && l.known && l.target != 0 {
			add(l.target)
		}
	}
	if len(out) > 0 {
		return out
	}
	if own, err := s.tree.own(); err == nil {
		if id, err := s.tree.id(own); err == nil {
			out[id] = own
		}
	}
	return out
}
