package dns

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// maxResolvConf bounds, in bytes, what is read of the file.
const maxResolvConf = 64 << 10

// lookEvery is how often, at most, the file is looked at.
const lookEvery = time.Second

// A resolvConf is the servers that a file names, as of the last look.
type resolvConf struct {
	path string
	port uint16 // of the servers

	changed func() // told when there are other servers

	mu      sync.Mutex
	looked  time.Time
	seen    fs.FileInfo // of the file that was read
	servers []netip.AddrPort
	err     error
}

// get returns the servers. When the file cannot be read it returns those that
// were read before; the error is for when there are none.
func (c *resolvConf) get(now time.Time) ([]netip.AddrPort, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.looked) < lookEvery && !c.looked.IsZero() {
		return c.servers, c.err
	}
	c.looked = now
	c.err = c.look()
	return c.servers, c.err
}

func (c *resolvConf) look() error {
	info, err := os.Stat(c.path)
	if err != nil {
		return fmt.Errorf("find the host's resolvers: %w", err)
	}
	if c.seen != nil && os.SameFile(info, c.seen) && info.ModTime().Equal(c.seen.ModTime()) && info.Size() == c.seen.Size() {
		return c.err
	}
	f, err := os.Open(c.path)
	if err != nil {
		return fmt.Errorf("read the host's resolvers: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxResolvConf))
	if err != nil {
		return fmt.Errorf("read the host's resolvers: %w", err)
	}
	servers := nameservers(text, c.port)
	if !slices.Equal(servers, c.servers) && c.changed != nil {
		c.changed()
	}
	c.seen, c.servers = info, servers
	if len(servers) == 0 {
		return fmt.Errorf("%s names no server: add a line such as \"nameserver 9.9.9.9\"", c.path)
	}
	return nil
}

// poke has the file read with the next query, even where it looks the same: a
// change within one tick of the file system's clock does.
func (c *resolvConf) poke() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looked, c.seen = time.Time{}, nil
}

// maxLinks is how many links to the file are followed.
const maxLinks = 8

// watch looks at the file as soon as it is another one, until ctx ends: by a
// change of the file, of a link on the way to it, or of what is there in its
// place. Where that is not to be had, the file is looked at once a second.
func (c *resolvConf) watch(ctx context.Context) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer w.Close()
	names := c.follow(w)
	c.poke() // it may have changed before it was watched
	for {
		select {
		case e := <-w.Events:
			if slices.Contains(names, e.Name) {
				c.poke()
				names = c.follow(w)
			}
		case err := <-w.Errors: // some were lost
			if err != nil {
				c.poke()
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// follow watches the folders of the file and of each link that leads to it, and
// returns their names.
func (c *resolvConf) follow(w *fsnotify.Watcher) (names []string) {
	path := filepath.Clean(c.path)
	for range maxLinks {
		names = append(names, path)
		_ = w.Add(filepath.Dir(path)) // a folder that is not there yet is looked for
		to, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = to
	}
	return names
}

// nameservers reads resolv.conf(5), in order and each server once.
func nameservers(text []byte, port uint16) []netip.AddrPort {
	var servers []netip.AddrPort
	seen := map[netip.AddrPort]bool{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		a, err := netip.ParseAddr(f[1])
		if err != nil {
			continue
		}
		if s := netip.AddrPortFrom(a.Unmap(), port); !seen[s] {
			seen[s] = true
			servers = append(servers, s)
		}
	}
	return servers
}
