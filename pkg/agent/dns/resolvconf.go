package dns

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

// maxResolvConf bounds, in bytes, what is read of the file.
const maxResolvConf = 64 << 10

// lookEvery is how often, at most, the file is looked at.
const lookEvery = time.Second

// A resolvConf is the servers that a file names, as of the last look.
type resolvConf struct {
	path string
	port uint16 // of the servers

	mu      sync.Mutex
	looked  time.Time
	mtime   time.Time
	size    int64
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
	if info.ModTime().Equal(c.mtime) && info.Size() == c.size {
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
	c.mtime, c.size, c.servers = info.ModTime(), info.Size(), servers
	if len(servers) == 0 {
		return fmt.Errorf("%s names no server: add a line such as \"nameserver 9.9.9.9\"", c.path)
	}
	return nil
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
