//go:build linux

// Package testpg gives tests a real PostgreSQL: a cluster of their own, in a
// temporary folder, that an unprivileged user runs and that waits for its disk.
package testpg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// patience is how long a cluster may take to start or stop.
const patience = time.Minute

// ordinary is the port where settings name no other.
const ordinary = "5432"

// A Cluster is one PostgreSQL server.
type Cluster struct {
	Dir string // of the data and the socket
	// Start starts the server's process; it may do so in another namespace.
	start   func(*exec.Cmd) error
	port    string
	args    []string
	owner   *syscall.Credential
	process *os.Process
	ended   chan struct{} // closed when the process ended
	out     bytes.Buffer  // of the process; read it when it has ended
}

// New makes a cluster that Start starts, and that is gone with the test. start
// is how a prepared program is started, nil by itself; settings are lines of
// postgresql.conf without the file.
func New(t testing.TB, start func(*exec.Cmd) error, settings ...string) *Cluster {
	t.Helper()
	c, err := create(start, settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.remove)
	return c
}

func create(start func(*exec.Cmd) error, settings ...string) (_ *Cluster, err error) {
	// Not t.TempDir: the path of a socket is short.
	dir, err := os.MkdirTemp("", "weft-pg-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{Dir: dir, start: start, port: ordinary}
	for _, s := range settings {
		if port, ok := strings.CutPrefix(s, "port="); ok {
			c.port = port
		}
	}
	if c.start == nil {
		c.start = (*exec.Cmd).Start
	}
	defer func() {
		if err != nil {
			c.remove()
		}
	}()
	if c.owner, err = unprivileged(); err != nil {
		return nil, err
	}
	if c.owner != nil {
		if err := os.Chown(dir, int(c.owner.Uid), int(c.owner.Gid)); err != nil {
			return nil, err
		}
	}
	initdb, err := program("initdb")
	if err != nil {
		return nil, err
	}
	// --no-sync is about the empty cluster only.
	cmd := exec.CommandContext(context.Background(), initdb, "-D", c.Data(), "--no-sync", "--no-instructions", "-A", "trust", "-U", "weft", "-E", "UTF8", "--locale=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.owner}
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	// Who reaches it is up to listen_addresses.
	if err := appendTo(filepath.Join(c.Data(), "pg_hba.conf"), "host all all all trust\nlocal replication all trust\n"); err != nil {
		return nil, err
	}
	c.args = []string{"-D", c.Data(), "-c", "unix_socket_directories=" + dir, "-c", "port=" + c.port, "-c", "shared_buffers=32MB", "-c", "max_connections=60"}
	for _, s := range append([]string{"listen_addresses="}, settings...) {
		c.args = append(c.args, "-c", s)
	}
	return c, nil
}

// Standby makes a copy of a running cluster that follows it, and takes its place
// once it is promoted. It is not started. settings are as for New.
func (c *Cluster) Standby(t testing.TB, settings ...string) *Cluster {
	t.Helper()
	s, err := create(c.start, settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.remove)
	if err := os.RemoveAll(s.Data()); err != nil {
		t.Fatal(err)
	}
	copier, err := program("pg_basebackup")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), copier, "-D", s.Data(), "-h", c.Dir, "-p", c.port, "-U", "weft", "--write-recovery-conf", "--checkpoint=fast", "--no-sync")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.owner}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("copy the cluster: %v\n%s", err, out)
	}
	return s
}

func appendTo(file, text string) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// Data is the folder of the data.
func (c *Cluster) Data() string { return filepath.Join(c.Dir, "data") }

// unprivileged is whom a server runs as, which refuses root: nil is oneself.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // oneself
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody")
}

// program finds one of the server's, which Debian keeps out of PATH.
func program(name string) (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err == nil && len(found) > 0 {
		return slices.Max(found), nil
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is not there: run hack/deps.sh: %w", name, err)
	}
	return path, nil
}

// Start starts the server and waits until it answers.
func (c *Cluster) Start(t testing.TB) {
	t.Helper()
	if err := c.run(); err != nil {
		t.Fatal(err)
	}
}

func (c *Cluster) run() error {
	server, err := program("postgres")
	if err != nil {
		return err
	}
	ended, started := make(chan struct{}), make(chan error)
	go func() {
		defer close(ended)
		// The kernel ends the server with the thread that started it: this one
		// waits for it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread() // or the thread ended, and with it whatever else it had started
		cmd := exec.CommandContext(context.Background(), server, c.args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.owner, Pdeathsig: syscall.SIGQUIT}
		c.out.Reset()
		cmd.Stdout, cmd.Stderr = &c.out, &c.out
		cmd.Dir = c.Dir
		if err := c.start(cmd); err != nil {
			started <- err
			return
		}
		c.process = cmd.Process
		started <- nil
		_ = cmd.Wait()
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	c.ended = ended
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := c.exec("SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-c.ended:
			return fmt.Errorf("PostgreSQL ended by itself:\n%s", c.out.String())
		case <-tick.C:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("PostgreSQL did not answer within %s: %w", patience, err)
		}
	}
}

// Stop ends the server: by SIGINT in order, by SIGQUIT at once, as a crash
// would. It does nothing where it does not run.
func (c *Cluster) Stop(t testing.TB, by syscall.Signal) {
	t.Helper()
	if err := c.stop(by); err != nil {
		t.Fatal(err)
	}
}

func (c *Cluster) stop(by syscall.Signal) error {
	if c.ended == nil {
		return nil
	}
	_ = c.process.Signal(syscall.SIGCONT)
	_ = c.process.Signal(by)
	select {
	case <-c.ended:
		c.ended = nil
		return nil
	case <-time.After(patience):
		return fmt.Errorf("PostgreSQL did not end within %s", patience)
	}
}

func (c *Cluster) remove() {
	_ = c.stop(syscall.SIGQUIT)
	_ = os.RemoveAll(c.Dir)
}

// DSN is how the cluster is reached on its socket; parameters are pairs of
// names and values.
func (c *Cluster) DSN(parameters ...string) string {
	q := url.Values{"host": {c.Dir}, "port": {c.port}, "user": {"weft"}}
	for i := 0; i+1 < len(parameters); i += 2 {
		q.Set(parameters[i], parameters[i+1])
	}
	return "postgres:///postgres?" + q.Encode()
}

// Own gives the server what a test has put into its data.
func (c *Cluster) Own(t testing.TB) {
	t.Helper()
	if c.owner == nil {
		return
	}
	files, err := filepath.Glob(filepath.Join(c.Data(), "*"))
	for _, f := range files {
		if err == nil {
			err = os.Chown(f, int(c.owner.Uid), int(c.owner.Gid))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Signal sends a signal to the server and all of its sessions.
func (c *Cluster) Signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", c.process.Pid, c.process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range append(strings.Fields(string(text)), strconv.Itoa(c.process.Pid)) {
		pid, err := strconv.Atoi(p)
		if err == nil {
			err = syscall.Kill(pid, sig)
		}
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatalf("signal %s to %s: %v", sig, p, err)
		}
	}
}

// Exec runs statements as the cluster's administrator.
func (c *Cluster) Exec(t testing.TB, sql string) {
	t.Helper()
	if err := c.exec(sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func (c *Cluster) exec(sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.DSN())
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql)
	return errors.Join(err, conn.Close(ctx))
}

// shared is one cluster for a whole test binary.
var shared struct {
	once    sync.Once
	cluster *Cluster
	err     error
	schemas atomic.Int64
}

// Shared is the cluster that all tests of a binary use which have nothing
// against neighbours. Its package's TestMain calls Main.
func Shared(t testing.TB) *Cluster {
	t.Helper()
	shared.once.Do(func() {
		if shared.cluster, shared.err = create(nil); shared.err == nil {
			shared.err = shared.cluster.run()
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.cluster
}

// Schema makes an empty schema in the shared cluster and returns the DSN of
// it. It lasts as long as the cluster.
func Schema(t testing.TB) string {
	t.Helper()
	c := Shared(t)
	name := fmt.Sprintf("test%d", shared.schemas.Add(1))
	c.Exec(t, "CREATE SCHEMA "+name)
	return c.DSN("search_path", name)
}

// Main runs a package's tests and removes the shared cluster.
func Main(m *testing.M) {
	code := m.Run()
	if shared.cluster != nil {
		shared.cluster.remove()
	}
	os.Exit(code)
}
