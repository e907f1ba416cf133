package cp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/sealed"
	"github.com/weft-mesh/weft/pkg/cp/store/sqlite"
)

// secretsKey is where the key file is.
func (c *Config) secretsKey() string {
	return cmp.Or(c.SecretsKey, filepath.Join(c.DataDir, "secrets.key"))
}

// auditLog is where the audit log is.
func (c *Config) auditLog() string {
	return cmp.Or(c.AuditLog, filepath.Join(c.DataDir, "audit", "audit.jsonl"))
}

// openKeys opens the keys of a store's secrets, and makes them where nothing is
// sealed yet. It fails in words where the keys are not those of the store.
func openKeys(ctx context.Context, cfg Config, s store.Keeper, log *slog.Logger) (*sealed.Keys, error) {
	path := cfg.secretsKey()
	count, err := sealed.Count(ctx, s)
	if err != nil {
		return nil, err
	}
	plain := count[sealed.ID{}]
	delete(count, sealed.ID{})
	keys, err := sealed.OpenKeys(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && len(count) == 0:
		if keys, err = sealed.CreateKeys(path); err != nil {
			return nil, fmt.Errorf("secrets-key: %w", err)
		}
		log.Info("key of secrets made: keep a copy of it, apart from copies of the store", "file", path, "key", keys.Active().String(), "secrets_to_seal", plain)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("secrets-key: %s is not there, but %d secrets of the store are sealed by key %s: put the file back from a copy, or take that of another replica; without it they are lost, and hosts would have to join again",
			path, sum(count), ids(count))
	case err != nil:
		return nil, fmt.Errorf("secrets-key: %w", err)
	}
	for _, id := range keys.IDs() {
		delete(count, id)
	}
	if len(count) > 0 {
		return nil, fmt.Errorf("secrets-key: %s is not the key file of this store: %d secrets are sealed by key %s, which is not in it: put the right file back from a copy, or take that of another replica", path, sum(count), ids(count))
	}
	return keys, nil
}

func sum(count map[sealed.ID]int) (n int) {
	for _, c := range count {
		n += c
	}
	return n
}

func ids(count map[sealed.ID]int) string {
	var all []string
	for id := range maps.Keys(count) {
		all = append(all, id.String())
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// resealEvery is how often the key file is looked at.
const resealEvery = 5 * time.Second

// reseal seals secrets anew when the key file has another key, until ctx ends.
func (c *ControlPlane) reseal(ctx context.Context) error {
	done := c.secrets.Active()
	tick := time.NewTicker(resealEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if c.secrets.Active() == done {
			continue
		}
		n, err := c.sealed.Reseal(ctx)
		if err != nil {
			if ctx.Err() == nil {
				c.log.Warn("secrets were not sealed anew", "error", err)
			}
			continue
		}
		done = c.secrets.Active()
		switch {
		case c.board != nil:
			c.log.Info("secrets are sealed anew; when every replica has this key file, drop the old keys with weft-cp key drop-old", "key", done.String(), "secrets", n)
		default:
			if err := c.secrets.DropOld(); err != nil {
				c.log.Warn("old keys of secrets were not dropped", "error", err)
			}
			c.log.Info("secrets are sealed anew", "key", done.String(), "secrets", n)
		}
	}
}

// withSecrets opens the store and its keys for a command. Where a control plane
// uses the store, s is nil.
func withSecrets(ctx context.Context, cfg Config, log *slog.Logger, do func(keys *sealed.Keys, s *sealed.Store) error) (err error) {
	opened, err := openStore(ctx, cfg, log)
	if errors.Is(err, sqlite.ErrInUse) {
		keys, err := sealed.OpenKeys(cfg.secretsKey())
		if err != nil {
			return fmt.Errorf("secrets-key: %w", err)
		}
		return do(keys, nil)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, opened.Close()) }()
	keys, err := openKeys(ctx, cfg, opened, log)
	if err != nil {
		return err
	}
	return do(keys, sealed.Over(opened, keys, log))
}

// RotateSecretsKey makes another key and seals all secrets by it. It tells what
// was done.
func RotateSecretsKey(ctx context.Context, cfg Config, log *slog.Logger) (told string, err error) {
	err = withSecrets(ctx, cfg, log, func(keys *sealed.Keys, s *sealed.Store) error {
		id, err := keys.Add()
		if err != nil {
			return err
		}
		if s == nil {
			told = fmt.Sprintf("key %s is made; the control plane that runs seals all secrets by it within %s, then drops the old key", id, 2*resealEvery)
			return nil
		}
		n, err := s.Reseal(ctx)
		if err != nil {
			return err
		}
		if _, shared := s.Keeper.(store.Board); shared {
			told = fmt.Sprintf("key %s has sealed %d secrets; copy %s to every replica, then run weft-cp key drop-old there", id, n, cfg.secretsKey())
			return nil
		}
		told = fmt.Sprintf("key %s has sealed %d secrets, and the old one is dropped", id, n)
		return keys.DropOld()
	})
	return told, err
}

// DropOldSecretsKeys forgets the keys by which nothing is sealed any more.
func DropOldSecretsKeys(ctx context.Context, cfg Config, log *slog.Logger) error {
	return withSecrets(ctx, cfg, log, func(keys *sealed.Keys, s *sealed.Store) error {
		if s == nil {
			return errors.New("the control plane that runs drops old keys itself, once it has sealed all secrets anew")
		}
		count, err := sealed.Count(ctx, s.Keeper)
		if err != nil {
			return err
		}
		delete(count, keys.Active())
		if n := sum(count); n > 0 {
			return fmt.Errorf("%d secrets are not sealed by key %s yet: run weft-cp key rotate, or wait for the control plane that does", n, keys.Active())
		}
		return keys.DropOld()
	})
}
