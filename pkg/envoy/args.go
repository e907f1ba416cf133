package envoy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// A running Envoy is told by its arguments: its bootstrap's name has the hash
// of the content, so that equal arguments mean an equal Envoy.
const (
	configFlag = "--config-path"
	epochFlag  = "--restart-epoch"
	bootPrefix = "bootstrap-"
	bootSuffix = ".json"
)

// hotSocket is the name, in Envoy's working folder, of the sockets by which one
// Envoy takes over from another. Envoy's own choice is an abstract socket, at
// which any user of the host can tell Envoy to end.
const hotSocket = "hot"

func (p *Process) args(epoch int) []string {
	change := int(p.cfg.ChangeTime / time.Second)
	args := []string{
		configFlag, p.bootstrapPath(),
		"--base-id", strconv.FormatUint(uint64(baseID(p.cfg.Dir)), 10),
		epochFlag, strconv.Itoa(epoch),
		"--socket-path", hotSocket,
		"--socket-mode", "600",
		"--drain-time-s", strconv.Itoa(change),
		"--parent-shutdown-time-s", strconv.Itoa(max(change, int(p.cfg.DrainTime/time.Second)) + 1),
		"--drain-strategy", "immediate", // HTTP ends after the answer that is under way
		"--log-level", p.cfg.LogLevel,
		"--log-format", logFormat,
		"--log-format-escaped",
	}
	if p.cfg.Concurrency > 0 {
		args = append(args, "--concurrency", strconv.Itoa(p.cfg.Concurrency))
	}
	return args
}

// lifeOfReplaced is how long a replaced Envoy may be there.
func (p *Process) lifeOfReplaced() time.Duration {
	return max(p.cfg.ChangeTime, p.cfg.DrainTime) + 2*time.Second
}

// value is what follows a flag.
func value(args []string, flag string) string {
	if i := slices.Index(args, flag); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}

// epochOf is the epoch in an Envoy's arguments.
func epochOf(args []string) (int, error) {
	n, err := strconv.Atoi(value(args, epochFlag))
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s is %q", epochFlag, value(args, epochFlag))
	}
	return n, nil
}

// sameArgs tells whether two Envoys differ by no more than their epoch.
func sameArgs(a, b []string) bool {
	without := func(args []string) []string {
		if i := slices.Index(args, epochFlag); i >= 0 && i+1 < len(args) {
			return slices.Delete(slices.Clone(args), i, i+2)
		}
		return args
	}
	return slices.Equal(without(a), without(b))
}

func (p *Process) bootstrapPath() string {
	sum := sha256.Sum256(p.cfg.Bootstrap)
	return filepath.Join(p.cfg.Dir, bootPrefix+hex.EncodeToString(sum[:6])+bootSuffix)
}

// writeBootstrap puts the bootstrap in its place, mode 0600.
func (p *Process) writeBootstrap() error {
	path := p.bootstrapPath()
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, p.cfg.Bootstrap) {
		return nil
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, p.cfg.Bootstrap, 0o600); err != nil {
		return fmt.Errorf("write the bootstrap: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write the bootstrap: %w", err)
	}
	return nil
}

// removeBootstraps removes all but those that are in use.
func (p *Process) removeBootstraps(inUse ...string) {
	files, _ := filepath.Glob(filepath.Join(p.cfg.Dir, bootPrefix+"*"+bootSuffix+"*"))
	for _, f := range files {
		if slices.Contains(inUse, f) {
			continue
		}
		if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			p.log.Warn("an old bootstrap could not be removed", "error", err)
		}
	}
}
