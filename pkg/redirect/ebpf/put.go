//go:build linux

package ebpf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// put makes the host agree with the wish. Our folder is locked.
func (s *scene) put() error {
	if err := s.place.sweep(); err != nil {
		return err
	}
	have, err := read(s.place)
	if err != nil {
		return err
	}
	defer func() { have.close() }()
	routes := have.plan(s.wish)
	if err := errors.Join(routes.Refused(), routes.Mend()); err != nil {
		return err
	}
	if !have.usable {
		// Whole beside what is there, and then in its place, still doing nothing.
		dir := s.place.dir() + aside
		fresh, err := s.build(dir, have)
		if err == nil {
			defer fresh.close()
			err = s.replace(dir)
		}
		if err != nil {
			return errors.Join(err, remove(dir))
		}
		if err := s.write(fresh); err != nil {
			return errors.Join(err, s.putBack())
		}
	} else {
		if err := s.hang(s.place.dir(), have); err != nil {
			return err
		}
		if err := s.write(have); err != nil {
			return err
		}
	}
	if err := remove(s.place.dir() + before); err != nil {
		return err
	}
	return routes.DeleteStale()
}

// build makes everything anew in a folder, without any rules.
func (s *scene) build(dir string, have held) (fresh held, err error) {
	for _, d := range []string{dir, mapsIn(dir), linksIn(dir)} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return fresh, fmt.Errorf("make a folder for pins: %w", explain(err))
		}
	}
	c, err := load(nil)
	if err != nil {
		return fresh, err
	}
	defer func() { // the maps go to the caller
		for _, p := range c.Programs {
			_ = p.Close()
		}
		if err != nil {
			fresh.close()
		}
	}()
	fresh.maps = c.Maps
	if err := fresh.maps.setVersion(); err != nil {
		return fresh, fmt.Errorf("write map about: %w", err)
	}
	for name, m := range c.Maps {
		if err := m.Pin(filepath.Join(mapsIn(dir), name)); err != nil {
			return fresh, fmt.Errorf("pin map %s: %w", name, explain(err))
		}
	}
	links, err := s.links(have)
	if err != nil {
		return fresh, err
	}
	for _, l := range links {
		if err := s.hanger.pin(dir, l.hook, c.Programs[l.hook.program], l.cgroup, l.name); err != nil {
			return fresh, err
		}
	}
	return fresh, nil
}

// replace moves a whole folder into place. What was there works on beside it.
func (s *scene) replace(dir string) error {
	at := s.place.dir()
	if _, err := os.Stat(at + before); err == nil { // that one is in force, what came after never was
		if err := remove(at); err != nil {
			return err
		}
	} else if err := os.Rename(at, at+before); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("put pins aside: %w", explain(err))
	}
	if err := os.Rename(dir, at); err != nil {
		return errors.Join(fmt.Errorf("put pins in place: %w", explain(err)), s.putBack())
	}
	return nil
}

// putBack undoes replace.
func (s *scene) putBack() error {
	at := s.place.dir()
	if err := remove(at); err != nil {
		return err
	}
	if err := os.Rename(at+before, at); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("put pins back: %w", explain(err))
	}
	return nil
}

// hang makes the links of a folder what they should be: programs of another
// build are exchanged where they hang, what hangs nowhere or in the wrong place
// is hung up anew before the old link goes.
func (s *scene) hang(dir string, have held) error {
	links, err := s.links(have)
	if err != nil {
		return err
	}
	there := make(map[string]hanging)
	for _, l := range have.links {
		there[l.name] = l
	}
	var missing []wanted
	for _, l := range links {
		if h, ok := there[l.name]; !ok || h.target != l.target || h.broken != "" {
			missing = append(missing, l)
		}
		delete(there, l.name)
	}
	if len(missing) > 0 || !have.current {
		c, err := load(have.maps)
		if err != nil {
			return err
		}
		defer c.Close()
		for _, l := range missing {
			if err := s.hanger.pin(dir, l.hook, c.Programs[l.hook.program], l.cgroup, l.name); err != nil {
				return err
			}
		}
		if !have.current {
			if err := exchange(dir, c, links); err != nil {
				return err
			}
			if err := have.maps.setVersion(); err != nil {
				return fmt.Errorf("write map about: %w", err)
			}
		}
	}
	for name := range there { // nobody wants these
		if err := os.Remove(filepath.Join(linksIn(dir), name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("unpin %s: %w", name, explain(err))
		}
	}
	return nil
}

// exchange puts other programs where links hang.
func exchange(dir string, c *ebpf.Collection, links []wanted) error {
	for _, w := range links {
		l, err := link.LoadPinnedLink(filepath.Join(linksIn(dir), w.name), nil)
		if err != nil {
			return fmt.Errorf("open link %s: %w", w.name, explain(err))
		}
		err = l.Update(c.Programs[w.hook.program])
		_ = l.Close()
		if err != nil {
			return fmt.Errorf("exchange program %s: %w", w.hook.program, explain(err))
		}
	}
	return nil
}
