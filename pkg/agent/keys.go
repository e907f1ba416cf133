package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/weft-mesh/weft/pkg/agent/identity"
	"github.com/weft-mesh/weft/pkg/keyfile"
)

// Where the host's private keys may be.
const (
	keysInFiles  = "file"
	keysInMemory = "memory"
)

// identityDir is the folder of keys and certificates: one that outlives a
// reboot, or one that does not.
func (c *Config) identityDir() string {
	if c.KeyStore == keysInMemory {
		return filepath.Join(c.RunDir, "identity")
	}
	return c.StateDir
}

// identityDirReady makes that folder. It fails where keys are to be in memory
// and would not be.
func (c *Config) identityDirReady() error {
	if err := errors.Join(keyfile.Passage(c.RunDir), keyfile.Dir(c.identityDir())); err != nil {
		return err
	}
	if c.KeyStore != keysInMemory {
		return nil
	}
	memory, err := inMemory(c.identityDir())
	if err == nil && !memory {
		err = fmt.Errorf("keyStore: %s is on a disk and not in memory: give this agent a --run-dir on a tmpfs, such as beneath /run", c.RunDir)
	}
	return err
}

func (c *Config) openIdentity(log *slog.Logger) (*identity.Identity, error) {
	if log != nil {
		log = log.With("part", "identity")
		if err := c.identityDirReady(); err != nil {
			return nil, err
		}
	}
	return identity.Open(c.identityDir(), log)
}

func (c *Config) removeIdentity() error {
	err := identity.Remove(c.identityDir())
	if c.KeyStore == keysInMemory {
		err = errors.Join(err, removeFiles(c.identityDir()))
	}
	return err
}

// Waits between attempts to join again: the first, doubled up to the last.
const (
	firstRejoin = time.Second
	lastRejoin  = time.Minute
)

// Rejoin has each workload that has no identity, as after a reboot with keys in
// memory, join again with the token in its file. It tries until that succeeds
// or ctx ends. What has no such file is left as it is, for New to tell.
func Rejoin(ctx context.Context, cfg *Config, log *slog.Logger) error {
	for _, w := range cfg.Workloads() {
		if w.JoinTokenFile == "" {
			continue
		}
		_, err := w.openIdentity(nil)
		for wait := firstRejoin; errors.Is(err, identity.ErrNotJoined); wait = min(2*wait, lastRejoin) {
			if err = w.rejoin(ctx, log); err == nil {
				break
			}
			log.Warn("workload could not join again", "dataplane", w.Name, "mesh", w.Mesh, "error", err, "retry", wait)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(wait/2 + rand.N(wait/2)):
			}
			_, err = w.openIdentity(nil)
		}
	}
	return nil
}

func (c *Config) rejoin(ctx context.Context, log *slog.Logger) error {
	t, err := identity.ReadToken(c.JoinTokenFile)
	if err != nil {
		return err
	}
	if t.Mesh != c.Mesh {
		return fmt.Errorf("the token in %s is of mesh %q and not of %q", c.JoinTokenFile, t.Mesh, c.Mesh)
	}
	address, err := c.address()
	if err != nil {
		return err
	}
	if err := keyfile.Dir(c.StateDir); err != nil {
		return err
	}
	held, err := takeLock(c.StateDir)
	if err != nil {
		return err
	}
	defer held.release()
	return c.spend(ctx, t, address, log)
}
