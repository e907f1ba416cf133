package agent

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/weft-mesh/weft/pkg/envoy"
)

// usualEnvoyUser is whom the packages make for Envoy.
const usualEnvoyUser = "weft-proxy"

// What Envoy may do beyond its user, by capabilities(7).
const (
	capNetBindService = 10 // listeners at ports below 1024
	capNetAdmin       = 12 // marks, and transparent listeners
)

// findEnvoyUser is the user whom Envoy is to run as; nil is the agent's own.
func (c *Config) findEnvoyUser() (*envoy.User, error) {
	if runtime.GOOS != "linux" {
		if c.EnvoyUser != "" {
			return nil, fmt.Errorf("%q is set, but on %s Envoy runs as the agent does: leave it out", c.EnvoyUser, runtime.GOOS)
		}
		return nil, nil
	}
	name := c.EnvoyUser
	if name == "" {
		name = usualEnvoyUser
	}
	found, err := user.Lookup(name)
	if err != nil {
		found, err = user.LookupId(name)
	}
	u := &envoy.User{Name: name, Capabilities: []int{capNetBindService}}
	if c.Redirect {
		u.Capabilities = append(u.Capabilities, capNetAdmin)
	}
	if err == nil {
		u.Name = found.Username
		var gidErr error
		u.UID, err = strconv.Atoi(found.Uid)
		u.GID, gidErr = strconv.Atoi(found.Gid)
		return orRoot(u), errors.Join(err, gidErr)
	}
	if c.EnvoyUser == "" {
		return nil, nil // it was not made
	}
	n, err := strconv.ParseUint(name, 10, 31)
	if err != nil {
		return nil, fmt.Errorf("this host has no user %q: make it (useradd --system --user-group %[1]s), or write its number, or leave it out", name)
	}
	u.UID, u.GID = int(n), int(n)
	return orRoot(u), nil
}

// envoyUser is findEnvoyUser for an agent that is to run it.
func (c *Config) envoyUser() (*envoy.User, error) {
	u, err := c.findEnvoyUser()
	switch {
	case err != nil:
		return nil, fmt.Errorf("envoyUser: %w", err)
	case os.Geteuid() == 0:
		return u, nil
	case c.EnvoyUser == "" || u != nil && u.UID == os.Geteuid():
		return nil, nil
	default:
		return nil, fmt.Errorf("envoyUser: is %s, but only root can run Envoy as another: leave it out, or run the agent as root", c.EnvoyUser)
	}
}

// envoyUID is that user's number; 0 for the agent's own, who is root where there
// is a choice.
func (w *Workload) envoyUID() int {
	if u := w.user.Load(); u != nil {
		return u.UID
	}
	return 0
}

func (w *Workload) envoyUIDs() []uint32 {
	if uid := w.envoyUID(); uid != 0 {
		return []uint32{uint32(uid)}
	}
	return nil
}

// runAs has the next Envoy run as another user, and opens to it what the one
// before has open already.
func (w *Workload) runAs(u *envoy.User) error {
	before := w.envoyUID()
	w.user.Store(u)
	if w.envoyUID() == before {
		return nil
	}
	return errors.Join(w.letThrough(), w.relay.GiveTo(w.envoyUIDs()), w.logs.GiveTo(w.envoyUID()), w.metrics.GiveTo(w.envoyUID()))
}

// letThrough has Envoy pass through the host's run folder to what is its own.
func (w *Workload) letThrough() error {
	if w.user.Load() == nil {
		return nil
	}
	dir := w.cfg.RunDir
	if w.cfg.listed {
		dir = filepath.Dir(dir)
	}
	return os.Chmod(dir, 0o711) //nolint:gosec // Envoy passes through to what is its
}

func asUser(name string) string {
	if name == "" {
		return ""
	}
	return ", user " + name
}

// orRoot is nil for root, who is the agent's own user where that may choose.
func orRoot(u *envoy.User) *envoy.User {
	if u.UID == 0 {
		return nil
	}
	return u
}
