// Package envoy keeps an Envoy on this host: it starts it, takes back one that
// runs already, replaces it without a gap, passes on its log, starts it again
// when it dies, and lets its connections end before it stops it.
//
// What Envoy does is not its business: bootstrap/ writes the document that Envoy
// starts from, render/ what it is told afterwards.
package envoy

import (
	"context"
	"errors"
	"hash/fnv"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// A Config says how Envoy is run.
type Config struct {
	Binary    string // path of Envoy
	Bootstrap Bootstrap
	// Dir is the folder of bootstrap, log and lock, made with mode 0700 when it
	// is missing. It is this Envoy's alone: what runs on a bootstrap in it is
	// taken for it. Envoy works in the folder Home of it.
	Dir         string
	AdminSocket string // as in the bootstrap
	// User is who Envoy runs as; nil: who runs this program. With another, Dir
	// is let through (0711), and all in it is still closed but to its owner.
	User *User
	// Keep is a file, in a folder that is there, for what Envoy was when it last
	// worked: it is that again where what comes after it keeps dying. Beside it
	// its binary is kept, by a link, where both are of one file system. "" is none.
	Keep        string
	Concurrency int    // worker threads; 0: as many as its cgroup has cores, 4 at most
	LogLevel    string // trace, debug, info, warning, error; default warning, since Envoy lists all of itself at info
	// FileLimit is how many files Envoy may have open; 0: as many as its hard
	// limit says. A connection is a file or two.
	FileLimit uint64
	// DrainTime is how long connections may take to end when Envoy is
	// stopped. Default 5 s; below 0 stops it without a word.
	DrainTime time.Duration
	// ChangeTime is how long connections live on that came by a listener which
	// has changed since, in whole seconds. Default 30 s. Those of an Envoy that
	// was replaced have the longer of both.
	ChangeTime time.Duration
	// Cgroup is a folder of its own for Envoy, made where the kernel lets us;
	// "" is none.
	Cgroup string
	// Memory is the most memory that the cgroup may have, in bytes; 0: no limit.
	Memory uint64
	// Settle is told of each Envoy that was started, to take it out of what
	// would end with this program. Its error is logged.
	Settle func(ctx context.Context, pid int) error
	Log    *slog.Logger // default slog.Default()

	proof time.Duration // after how long Envoy is known to work; tests cannot wait for that
}

// A Bootstrap is the document that Envoy starts from. It depends on what Envoy
// may have, and equal limits give equal bytes.
type Bootstrap func(Limits) ([]byte, error)

// Fixed is a bootstrap that depends on nothing.
func Fixed(text []byte) Bootstrap { return func(Limits) ([]byte, error) { return text, nil } }

// Limits are what the cgroup of an Envoy, and those above it, let it have.
type Limits struct {
	Memory uint64 `json:"memory,omitempty"` // bytes; 0: no limit
	Cores  int    `json:"cores,omitempty"`  // as many threads as can run at a time, at least 1
}

// Home is the folder in Dir that Envoy works in and makes its sockets in: its
// user's alone.
const Home = "envoy"

func (p *Process) home() string { return filepath.Join(p.cfg.Dir, Home) }

// A Process is one Envoy, whatever the number of times it had to be started.
type Process struct {
	cfg   Config
	admin *Admin
	log   *slog.Logger

	stopping chan struct{} // closed by Stop
	stopOnce sync.Once
	ended    chan struct{} // closed when Run has returned
	replaced sync.WaitGroup
	changes  chan Config // capacity 1

	// What follows is Run's alone, and so is cfg once that runs.
	former *running // the last that was replaced
	last   last
	held   *os.File // the binary of that, where its file is another one now
	limits Limits   // of the newest Envoy
	// limited: the cgroup has a limit of ours.
	limited bool
	seen    string // of the binary's file, at the last look
	taken   string // of that, what was acted upon

	mu     sync.Mutex
	ran    bool
	shares *running // which the newest one took or takes over from, while both work in one folder
	status Status
}

// New returns a Process; Run starts it.
func New(c Config) *Process {
	c = c.complete()
	return &Process{
		cfg: c, admin: NewAdmin(c.AdminSocket), log: c.Log,
		stopping: make(chan struct{}), ended: make(chan struct{}), changes: make(chan Config, 1),
	}
}

// complete is c with its defaults.
func (c Config) complete() Config {
	if c.LogLevel == "" {
		c.LogLevel = "warning"
	}
	if c.DrainTime == 0 {
		c.DrainTime = 5 * time.Second
	}
	if c.ChangeTime == 0 {
		c.ChangeTime = 30 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.proof == 0 {
		c.proof = longEnough
	}
	return c
}

// A Status is how Envoy was when asked.
type Status struct {
	PID      int       `json:"pid"`               // 0: not running
	Epoch    int       `json:"epoch"`             // how often it was replaced since it was last started anew
	Since    time.Time `json:"since,omitzero"`    // of this PID
	Version  string    `json:"version,omitzero"`  // of the binary that was started last
	User     string    `json:"user,omitzero"`     // it runs as
	Limits   Limits    `json:"limits,omitzero"`   // of its cgroup
	Restarts int       `json:"restarts"`          // how often it died and was started again
	LastExit string    `json:"lastExit,omitzero"` // "signal: killed", "exit status 1", …
	ExitedAt time.Time `json:"exitedAt,omitzero"` // of LastExit
	// Deaths is how many lives of less than a minute lie behind it in a row,
	// and NextTry when it is started again, where it waits for that.
	Deaths  int       `json:"deaths,omitempty"`
	NextTry time.Time `json:"nextTry,omitzero"`
	// OutOfMemory is how often the kernel killed it for want of memory.
	OutOfMemory int `json:"outOfMemory,omitempty"`
	// Kept says why an Envoy was not replaced though it should have been.
	Kept string `json:"kept,omitzero"`
	// FellBack: it is what it was before, as what it should be kept dying.
	FellBack bool `json:"fellBack,omitempty"`
}

// loop is how many short lives in a row are a crash loop.
const loop = 3

// CrashLoop tells whether Envoy keeps dying soon after it was started.
func (s Status) CrashLoop(now time.Time) bool {
	return s.Deaths >= loop && (s.PID == 0 || now.Sub(s.Since) < longEnough)
}

// Status tells how Envoy is.
func (p *Process) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

func (p *Process) note(f func(*Status)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.status)
}

// preflight makes the folders, and returns Envoy's version or why there is no
// use in starting it.
func (p *Process) preflight(ctx context.Context) (string, error) {
	if p.cfg.Bootstrap == nil {
		return "", errors.New("there is no bootstrap")
	}
	if err := p.makeFolders(); err != nil {
		return "", err
	}
	return CheckAs(ctx, p.cfg.Binary, p.cfg.User)
}

// baseID tells the Envoys of one folder from all others of the machine: they
// share memory by it. Envoy multiplies it by ten.
func baseID(dir string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(filepath.Clean(dir)))
	return h.Sum32() % 400_000_000
}

// ErrBinary is what Check's errors wrap.
var ErrBinary = errors.New("no usable Envoy")
