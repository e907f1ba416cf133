package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/weft-mesh/weft/pkg/agent/identity"
	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/keyfile"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// Join makes a workload of host, by its name there, a member of the token's mesh
// and returns its configuration with what the token adds. The identity lies in
// its StateDir then; nothing else of the host has changed. It fails where an
// agent runs on the same files.
func Join(ctx context.Context, host Config, workload, token string, log *slog.Logger) (Config, error) {
	cfg, err := host.joining(workload)
	if err != nil {
		return cfg, err
	}
	t, err := api.ParseJoinToken(token)
	if err != nil {
		return cfg, err
	}
	if cfg.Mesh != "" && cfg.Mesh != t.Mesh {
		return cfg, fmt.Errorf("the token is of mesh %q, not of %q: leave --mesh out, or make a token of that mesh", t.Mesh, cfg.Mesh)
	}
	cfg.Mesh, cfg.ControlPlanes = t.Mesh, t.Addresses
	if cfg.Service != "" {
		cfg.Name = cmp.Or(cfg.Name, t.Name, defaultName(cfg.Service))
	}
	// With what the token says, beside the host's others.
	host.Joined(cfg)
	if err := host.Faults(); err != nil {
		return cfg, fmt.Errorf("join: %w", err)
	}
	address, err := cfg.address()
	if err != nil {
		return cfg, err
	}
	if err := keyfile.Dir(cfg.StateDir); err != nil {
		return cfg, err
	}
	held, err := takeLock(cfg.StateDir)
	if err != nil {
		return cfg, err
	}
	defer held.release()
	return cfg, cfg.spend(ctx, t, address, log)
}

// spend leaves the identity that the token is good for in its folder.
func (c *Config) spend(ctx context.Context, t api.JoinToken, address netip.Addr, log *slog.Logger) error {
	if err := c.identityDirReady(); err != nil {
		return err
	}
	_, err := identity.Join(ctx, identity.JoinOptions{
		Addresses: t.Addresses,
		Authority: t.Authority,
		Token:     t.Token,
		Dataplane: c.Dataplane(address),
		Dir:       c.identityDir(),
		Mark:      proxy.MarkAgent,
		Log:       log,
	})
	return err
}

// joining is the configuration of a workload that is to join. At the top there
// may be nothing yet.
func (c *Config) joining(workload string) (Config, error) {
	if workload == "" {
		top := *c
		top.more = nil
		return top, nil
	}
	return c.Of(workload)
}

// WriteConfig keeps a configuration in file, in one step.
func WriteConfig(file string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if err := keyfile.Write(file, text); err != nil {
		return fmt.Errorf("write the configuration: %w", errors.Unwrap(err))
	}
	return nil
}
