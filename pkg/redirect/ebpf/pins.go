//go:build linux

package ebpf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect"
)

const (
	defaultPins = "/sys/fs/bpf"
	// ourMount is the source of the bpf file system where we mounted it, and
	// ourMode its root's, by which old kernels tell, who have no source.
	ourMount = "weft"
	ourMode  = "mode=710"
	// ourFolder holds everything of ours in it.
	ourFolder = "weft"
	// aside marks a folder, or a pin, that is not in place yet. The bpf file
	// system knows no dots.
	aside = "+new"
	// before marks a folder in whose place another is being put.
	before = "+old"
	// locked marks the folder that a place's writers lock.
	locked = "+lock"
)

// A place is the folder of one table in one network namespace. Its name says
// both, as a namespace's cookie is its own until the next boot.
type place struct {
	bpffs string
	table string
	netns uint64
}

func (p place) root() string { return filepath.Join(p.bpffs, ourFolder) }
func (p place) name() string { return p.table + "@" + strconv.FormatUint(p.netns, 10) }
func (p place) dir() string  { return filepath.Join(p.root(), p.name()) }

func mapsIn(dir string) string  { return filepath.Join(dir, "maps") }
func linksIn(dir string) string { return filepath.Join(dir, "links") }

// mounted tells whether there is a bpf file system at the place, and whether it
// can be written.
func (p place) mounted() (m mount, ok bool, err error) {
	all, err := mounts()
	if err != nil {
		return m, false, err
	}
	for _, at := range all {
		if at.at == p.bpffs {
			m, ok = at, at.kind == "bpf" // the last one is on top
		}
	}
	return m, ok, nil
}

// writable refuses what cannot become a home for pins.
func (p place) writable() error {
	m, ok, err := p.mounted()
	switch {
	case err != nil:
		return err
	case ok && m.readOnly:
		return fmt.Errorf("%w: the bpf file system at %s is read-only, and programs that outlive the agent are pinned there; mount -o remount,rw %s, or use the nftables engine",
			redirect.ErrNotSupported, p.bpffs, p.bpffs)
	case ok:
		return nil
	}
	if private() && p.bpffs == defaultPins {
		return fmt.Errorf("%w: no bpf file system is mounted at %s, and one that is mounted here ends with this mount namespace, with all that is pinned in it; mount it on the host (mount -t bpf bpf %s), or use the nftables engine",
			redirect.ErrNotSupported, p.bpffs, p.bpffs)
	}
	if _, err := os.Stat(p.bpffs); err != nil {
		return fmt.Errorf("%w: there is no folder %s for the bpf file system (CONFIG_BPF_SYSCALL, and /sys must be mounted); use the nftables engine", redirect.ErrNotSupported, p.bpffs)
	}
	return nil
}

// visible fails where the host has a bpf file system at the place and this
// process sees none there: what is pinned in the host's would seem to be
// missing. Who sees another one has mounted it, and pins there.
func (p place) visible() error {
	if p.bpffs != defaultPins || !private() {
		return nil
	}
	if _, ok, err := p.mounted(); ok || err != nil {
		return err
	}
	first, err := mountsOf("1")
	if err != nil {
		return nil //nolint:nilerr // who may not look there cannot know better
	}
	var host mount
	for _, m := range first {
		if m.at == p.bpffs {
			host = m // the last one is on top
		}
	}
	if host.kind != "bpf" {
		return nil
	}
	return fmt.Errorf("what is pinned at %s is not seen from here: this process has mounts of its own, without the host's bpf file system; look from the host's (nsenter --target 1 --mount, then the same command), or give this unit BindPaths=%[1]s", p.bpffs)
}

// private tells whether this process sees other mounts than the first one of
// the host, as in a unit with mounts of its own. No two namespaces have mounts
// of the same number.
func private() bool {
	own, err := mountsOf("thread-self")
	first, firstErr := mountsOf("1")
	return err == nil && firstErr == nil && len(own) > 0 && len(first) > 0 && own[0].id != first[0].id
}

// mount makes sure of the bpf file system. One that we mount we unmount again.
func (p place) mount() error {
	_, ok, err := p.mounted()
	if ok || err != nil {
		return err
	}
	if err := unix.Mount(ourMount, p.bpffs, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ourMode); err != nil {
		return fmt.Errorf("mount the bpf file system at %s: %w", p.bpffs, explain(err))
	}
	return nil
}

// unmount takes away what mount made, once nobody has anything in it.
func (p place) unmount() {
	m, ok, err := p.mounted()
	if err != nil || !ok || !m.ours {
		return
	}
	left, err := os.ReadDir(p.bpffs)
	for _, f := range left {
		if !strings.HasSuffix(f.Name(), ".debug") { // those the kernel puts there itself
			return
		}
	}
	if err == nil {
		_ = unix.Unmount(p.bpffs, unix.UMOUNT_NOFOLLOW) // busy: somebody came
	}
}

// lockTime bounds the wait for other writers of ours.
const lockTime = 10 * time.Second

// lockFolder is what a place's writers lock. It is beside the place's own folder,
// which is exchanged, and there as long as that is.
func (p place) lockFolder() string { return p.dir() + locked }

// lock takes a place for ourselves, among all processes, and makes it where it
// is to be made. Where nothing is, and nothing is to be made, there is nothing
// to lock.
func (p place) lock(ctx context.Context, create bool) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, lockTime)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if create {
			if err := p.make(); err != nil {
				return nil, err
			}
		}
		f, err := os.Open(p.lockFolder())
		switch {
		case errors.Is(err, fs.ErrNotExist) && !create:
			return func() {}, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return nil, explain(err)
		case err == nil:
			if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil && p.still(f) {
				return func() { _ = f.Close() }, nil
			}
			_ = f.Close()
		}
		select { // its last user may just have taken it away
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("somebody else has been changing %s for %s: %w", p.dir(), lockTime, ctx.Err())
		}
	}
}

// make makes sure of the folder that is locked. What somebody takes away
// meanwhile is there at the next try.
func (p place) make() error {
	if err := p.mount(); err != nil {
		return err
	}
	for _, dir := range []string{p.root(), p.lockFolder()} {
		err := os.Mkdir(dir, 0o700)
		if err == nil || errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if _, ok, mountErr := p.mounted(); mountErr == nil && !ok {
			return nil // unmounted by its last user
		}
		return fmt.Errorf("make a folder for pins: %w", explain(err))
	}
	return nil
}

// still tells whether f is the folder that is there now.
func (p place) still(f *os.File) bool {
	now, err := os.Stat(p.lockFolder())
	held, heldErr := f.Stat()
	return err == nil && heldErr == nil && os.SameFile(now, held)
}

// leave ends a lock, and takes away the folders, and the mount, that are empty
// now.
func (p place) leave(unlock func()) {
	if _, err := os.Stat(p.dir()); errors.Is(err, fs.ErrNotExist) {
		_ = os.Remove(p.lockFolder())
	}
	empty := os.Remove(p.root()) == nil
	unlock()
	if empty {
		p.unmount()
	}
}

// remove takes away what is pinned in a folder, whatever version pinned it:
// first the rules, so that everything ends at once, then what hangs somewhere,
// then the rest.
func remove(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if m, err := ebpf.LoadPinnedMap(filepath.Join(mapsIn(dir), "current"), nil); err == nil {
		_ = m.Delete(uint32(0)) // another version may not have it so
		_ = m.Close()
	}
	pins, err := os.ReadDir(linksIn(dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list pins: %w", explain(err))
	}
	for _, pin := range pins {
		at := filepath.Join(linksIn(dir), pin.Name())
		if l, err := link.LoadPinnedLink(at, nil); err == nil {
			_ = l.Detach() // at once; what is detached already says so
			_ = l.Close()
		}
		if err := os.Remove(at); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("unpin: %w", explain(err))
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("unpin: %w", explain(err))
	}
	return nil
}

// others are the folders of ours in the same network namespace, this table's
// left out.
func (p place) others() ([]string, error) {
	return p.folders(func(table string, netns uint64) bool { return netns == p.netns && table != p.table })
}

func (p place) folders(want func(table string, netns uint64) bool) (out []string, err error) {
	all, err := os.ReadDir(p.root())
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, fmt.Errorf("list pins: %w", explain(err))
	}
	for _, d := range all {
		table, cookie, ok := strings.Cut(d.Name(), "@")
		n, err := strconv.ParseUint(cookie, 10, 64)
		if ok && err == nil && want(table, n) {
			out = append(out, filepath.Join(p.root(), d.Name()))
		}
	}
	return out, nil
}

// sweep takes away what an interrupted Apply left aside, and what belongs to
// network namespaces that are gone.
func (p place) sweep() error {
	if err := remove(p.dir() + aside); err != nil {
		return err
	}
	dirs, err := p.folders(func(_ string, netns uint64) bool { return netns != p.netns })
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if dead(dir) {
			if err := errors.Join(remove(dir), os.RemoveAll(dir+locked)); err != nil {
				return err
			}
		}
	}
	return nil
}

// dead tells whether the network namespace of a folder is gone, as the link to
// it tells.
func dead(dir string) bool {
	l, err := link.LoadPinnedLink(filepath.Join(linksIn(dir), "lookup"), nil)
	if err != nil {
		return false
	}
	defer l.Close()
	i, err := l.Info()
	return err == nil && i.NetNs() != nil && i.NetNs().NetnsInode == 0
}
