// Package audit writes down who changed what, from where and how: one line of
// JSON for every write, and for every write that was refused.
//
// A door (REST, the hosts' port) begins an Event in the context of a call; the
// store adds what is really changed to it, so that no write can be forgotten and
// none is told that was not made. Secrets stand there as hashes.
package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// What became of an event.
const (
	Done    = "done"
	Refused = "refused" // by who asked, or by what was asked for
	Failed  = "failed"  // it may have been done in part: see Changes
)

// An Event is one call that writes, or would have written.
type Event struct {
	Time    time.Time `json:"time"`
	Outcome string    `json:"outcome"`
	User    string    `json:"user,omitempty"`
	Groups  []string  `json:"groups,omitempty"`
	From    string    `json:"from,omitempty"` // address, or the socket
	Via     string    `json:"via"`            // rest, host, control-plane
	Call    string    `json:"call,omitempty"` // method and path, or name
	Status  int       `json:"status,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	Changes []Change  `json:"changes,omitempty"`
	// Omitted is how many refusals of the same kind were not written down
	// before this one.
	Omitted int `json:"omitted,omitempty"`

	mu sync.Mutex
}

// A Change is one write of the store, or something that was issued.
type Change struct {
	Action  string       `json:"action"` // create, update, delete, issue
	Kind    string       `json:"kind"`
	Mesh    string       `json:"mesh,omitempty"`
	Name    string       `json:"name,omitempty"`
	Was     mesh.Version `json:"was,omitempty"` // version before
	Version mesh.Version `json:"version,omitempty"`
	// Diff has a line for each field that differs: "path: old -> new".
	Diff []string `json:"diff,omitempty"`
}

// Add notes a change.
func (e *Event) Add(c Change) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.Changes) < maxChanges {
		e.Changes = append(e.Changes, c)
	}
}

// Bounds of a line.
const (
	maxChanges = 1000
	maxText    = 512 // bytes of a text that a caller chose
)

type eventKey struct{}

// Begin returns a context in which what is written is added to e.
func Begin(ctx context.Context, e *Event) context.Context {
	return context.WithValue(ctx, eventKey{}, e)
}

// Of returns the event of a context, nil where there is none.
func Of(ctx context.Context) *Event {
	e, _ := ctx.Value(eventKey{}).(*Event)
	return e
}

// Note adds a change to the event of a context, if there is one.
func Note(ctx context.Context, c Change) {
	if e := Of(ctx); e != nil {
		e.Add(c)
	}
}

// A Log is where events are written: a file that only its owner can read, whose
// predecessors are kept when it gets too large. Its methods may be called at
// once from many goroutines, and on a nil Log, which writes nothing.
type Log struct {
	path string
	keep int   // predecessors
	most int64 // bytes of one file
	now  func() time.Time
	log  *slog.Logger

	mu      sync.Mutex
	file    *os.File
	size    int64
	failing bool
}

// Of a file of the log, and of how many are kept beside the one that is written.
const (
	mostBytes = 64 << 20
	keepFiles = 10
)

// ToLog is a path that stands for the program's own log.
const ToLog = "-"

// Open opens the log at path, and makes its folder, 0700, where that is not
// there.
func Open(path string, log *slog.Logger) (*Log, error) {
	l := &Log{path: path, keep: keepFiles, most: mostBytes, now: time.Now, log: log}
	if path == ToLog {
		return l, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	return l, nil
}

func (l *Log) open() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, f.Close(), fmt.Errorf("%s is no regular file", l.path))
	}
	if info.Mode().Perm()&0o077 != 0 {
		return errors.Join(f.Close(), fmt.Errorf("others may read or write %s (mode %o): chmod 600 it", l.path, info.Mode().Perm()))
	}
	l.file, l.size = f, info.Size()
	return nil
}

// Write writes an event down. A log that cannot be written hinders nobody: it is
// told once in the program's own log, and tried again with each event.
func (l *Log) Write(e *Event) {
	if l == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.Time.IsZero() {
		e.Time = l.now().UTC()
	}
	e.Call, e.Reason, e.User = clip(e.Call), clip(e.Reason), clip(e.User)
	line, err := encode(e)
	if err == nil {
		err = l.append(line)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if was := l.failing; err != nil && !was {
		l.log.Error("audit log cannot be written", "file", l.path, "error", err)
	} else if err == nil && was {
		l.log.Info("audit log is written again", "file", l.path)
	}
	l.failing = err != nil
}

func clip(text string) string {
	if len(text) <= maxText {
		return text
	}
	return text[:maxText] + "…"
}

// encode makes one line of ASCII: nothing that a name holds can end it, nor turn
// a terminal that shows it.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	var out []byte
	for data := b.Bytes(); len(data) > 0; {
		r, n := utf8.DecodeRune(data)
		switch {
		case r < utf8.RuneSelf && r != 0x7f:
			out = append(out, byte(r))
		case r > 0xffff:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		data = data[n:]
	}
	return out, nil
}

func (l *Log) append(line []byte) error {
	if l.path == ToLog {
		l.log.Info("audit", "event", string(bytes.TrimSpace(line)))
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.follow(); err != nil {
		return err
	}
	if l.size > 0 && l.size+int64(len(line)) > l.most {
		if err := l.turn(); err != nil {
			return err
		}
	}
	n, err := l.file.Write(line)
	l.size += int64(n)
	return err
}

// follow opens the file anew where somebody has moved it away.
func (l *Log) follow() error {
	if l.file != nil {
		now, err := os.Stat(l.path)
		mine, mineErr := l.file.Stat()
		if err == nil && mineErr == nil && os.SameFile(now, mine) {
			return nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		_ = l.file.Close()
		l.file = nil
	}
	return l.open()
}

// turn puts the file aside and begins another one.
func (l *Log) turn() error {
	stamp := l.now().UTC().Format("20060102T150405.000000000")
	if err := os.Rename(l.path, l.path+"."+stamp); err != nil {
		return err
	}
	_ = l.file.Close()
	l.file = nil
	old, err := filepath.Glob(l.path + ".*")
	if err != nil {
		return err
	}
	slices.Sort(old)
	for len(old) > l.keep {
		if err := os.Remove(old[0]); err != nil {
			return err
		}
		old = old[1:]
	}
	return l.open()
}

// Close closes the file.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}
