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

// A form is everything that an Envoy is started as. Two of one form differ by
// their epoch alone.
type form struct {
	Binary    string
	Args      []string // without the epoch
	Bootstrap []byte
	User      *User
}

// form is what an Envoy is to be that may have so much.
func (p *Process) form(l Limits) (form, error) {
	doc, err := p.cfg.Bootstrap(l)
	if err != nil {
		return form{}, fmt.Errorf("write the bootstrap: %w", err)
	}
	if len(doc) == 0 {
		return form{}, errors.New("there is no bootstrap")
	}
	change := int(p.cfg.ChangeTime / time.Second)
	workers := p.cfg.Concurrency
	if workers == 0 {
		workers = min(max(1, l.Cores), usualWorkers)
	}
	return form{
		Binary: p.cfg.Binary, Bootstrap: doc, User: p.cfg.User,
		Args: []string{
			configFlag, p.bootstrapPath(doc),
			"--base-id", strconv.FormatUint(uint64(baseID(p.cfg.Dir)), 10),
			"--socket-path", hotSocket,
			"--socket-mode", "666", // the folder is closed; two of different users must speak with each other
			"--drain-time-s", strconv.Itoa(change),
			"--parent-shutdown-time-s", strconv.Itoa(max(change, int(p.cfg.DrainTime/time.Second)) + 1),
			"--drain-strategy", "immediate", // HTTP ends after the answer that is under way
			"--log-level", p.cfg.LogLevel,
			"--log-format", logFormat,
			"--log-format-escaped",
			"--concurrency", strconv.Itoa(workers),
		},
	}, nil
}

// usualWorkers is how many workers suffice: a sidecar seldom needs more, and
// each costs memory.
const usualWorkers = 4

// args are those of a form's Envoy of that epoch.
func (f form) args(epoch int) []string {
	return append(slices.Clone(f.Args), epochFlag, strconv.Itoa(epoch))
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

// withoutEpoch are arguments but for the epoch.
func withoutEpoch(args []string) []string {
	if i := slices.Index(args, epochFlag); i >= 0 && i+1 < len(args) {
		return slices.Delete(slices.Clone(args), i, i+2)
	}
	return args
}

// bootstrapPath has the name by which Envoys of different bootstraps, or of
// different users, are told apart.
func (p *Process) bootstrapPath(doc []byte) string {
	sum := sha256.Sum256(append(slices.Clone(doc), p.cfg.User.key()...))
	return filepath.Join(p.cfg.Dir, bootPrefix+hex.EncodeToString(sum[:6])+bootSuffix)
}

// writeBootstrap puts the bootstrap in its place, for its user alone to read.
func (p *Process) writeBootstrap(f form) error {
	path := value(f.Args, configFlag)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, f.Bootstrap) {
		return nil
	}
	tmp := path + ".new"
	_ = os.Remove(tmp)
	file, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write the bootstrap: %w", err)
	}
	_, err = file.Write(f.Bootstrap)
	if err := errors.Join(err, f.User.own(file), file.Close()); err != nil {
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
