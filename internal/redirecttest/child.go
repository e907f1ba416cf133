//go:build linux

package redirecttest

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// Some of what is tested takes a process of its own: one that is killed, that
// has no rights, or that lives in a cgroup. The test program is that process
// when this variable is set; its arguments say what it does.
const childVariable = "WEFT_TEST_CHILD"

// sideBySide is how many cases run at once. They wait for answers that do not
// come, for leases and for each other's processors.
const sideBySide = "8"

// Main is a test program's TestMain, with every engine that it tests.
func Main(m *testing.M, engines ...Engine) {
	if os.Getenv(childVariable) != "" {
		if err := work(os.Stdout, os.Args[1:], engines); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		_ = flag.Set("test.parallel", sideBySide)
	}
	os.Exit(m.Run())
}

// tasks are what a child does with its engine and its other arguments.
var tasks = map[string]func(ctx context.Context, out io.Writer, e redirect.Redirector, args []string) error{
	"call":  callTask,
	"start": startTask,
	"apply": applyTask,
	"churn": churnTask,
	"renew": renewTask,
	"deny":  denyTask,
	"remove": func(ctx context.Context, _ io.Writer, e redirect.Redirector, args []string) error {
		return e.Remove(ctx, args[0])
	},
}

func work(out io.Writer, args []string, engines []Engine) error {
	if len(args) < 2 {
		return errors.New("a child takes a task and an engine")
	}
	task, ok := tasks[args[0]]
	if !ok {
		return fmt.Errorf("there is no task %q", args[0])
	}
	for _, e := range engines {
		if e.Name == args[1] {
			return task(context.Background(), out, e.New(), args[2:])
		}
	}
	return fmt.Errorf("there is no engine %q", args[1])
}

// child prepares one on a host. Start it with the host.
func (u suite) child(ctx context.Context, t *testing.T, h *testnet.Host, task string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := h.Command(ctx, exe, append([]string{task, u.Name}, args...)...)
	cmd.Env = append(os.Environ(), childVariable+"=1")
	return cmd
}

// output runs a child to its end.
func output(t *testing.T, h *testnet.Host, cmd *exec.Cmd) string {
	t.Helper()
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := h.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		t.Fatalf("%q: %v\n%s%s", cmd.Args, err, out.String(), errs.String())
	}
	return out.String()
}

// callIn calls from a process in a cgroup.
func (u suite) callIn(t *testing.T, c *cgroupFolder, h *testnet.Host, network string, to netip.AddrPort) string {
	t.Helper()
	cmd := u.child(t.Context(), t, h, "call", network, to.String())
	c.admit(cmd)
	return output(t, h, cmd)
}

// callTask calls an address and prints the answer.
func callTask(ctx context.Context, out io.Writer, _ redirect.Redirector, args []string) error {
	answer := func() string {
		d := net.Dialer{Timeout: testnet.DialTimeout}
		c, err := d.DialContext(ctx, args[0], args[1])
		if err != nil {
			return failure(err)
		}
		defer c.Close()
		if args[0] == "udp" {
			return ask(&testnet.Conn{Conn: c}, testnet.DialTimeout)
		}
		return hear(&testnet.Conn{Conn: c})
	}
	_, err := fmt.Fprint(out, answer())
	return err
}

// startTask is a unit that puts the rules in force before its first process
// starts.
func startTask(ctx context.Context, out io.Writer, e redirect.Redirector, args []string) error {
	r, err := rulesOf(args[0])
	if err == nil {
		err = e.Apply(ctx, r)
	}
	if err != nil {
		return err
	}
	return callTask(ctx, out, e, args[1:])
}

func rulesOf(text string) (r redirect.Rules, err error) {
	err = json.Unmarshal([]byte(text), &r)
	return r, err
}

func textOf(t *testing.T, r redirect.Rules) string {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// applyTask puts rules in force and is killed by itself.
func applyTask(ctx context.Context, _ io.Writer, e redirect.Redirector, args []string) error {
	r, err := rulesOf(args[0])
	if err == nil {
		err = e.Apply(ctx, r)
	}
	if err != nil {
		return err
	}
	return unix.Kill(os.Getpid(), unix.SIGKILL)
}

// churnTask puts rules in force in turn and takes them back, until it is killed.
func churnTask(ctx context.Context, out io.Writer, e redirect.Redirector, args []string) error {
	var all []redirect.Rules
	for _, text := range args {
		r, err := rulesOf(text)
		if err != nil {
			return err
		}
		all = append(all, r)
	}
	for {
		for _, r := range all {
			if err := e.Apply(ctx, r); err != nil {
				return err
			}
			if _, err := fmt.Fprintln(out, "applied"); err != nil {
				return err
			}
		}
		if err := e.Remove(ctx, all[0].Table); err != nil {
			return err
		}
	}
}

// renewTask renews a lease until it is killed.
func renewTask(ctx context.Context, out io.Writer, e redirect.Redirector, args []string) error {
	r, err := rulesOf(args[0])
	if err != nil {
		return err
	}
	tick := time.NewTicker(r.FailOpen / 5)
	defer tick.Stop()
	for {
		if err := e.(redirect.Leaser).Renew(ctx, r); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, "renewed"); err != nil {
			return err
		}
		<-tick.C
	}
}

// denied are what a process without rights tries.
var denied = map[string]func(ctx context.Context, e redirect.Redirector) error{
	"apply": func(ctx context.Context, e redirect.Redirector) error { return e.Apply(ctx, everything()) },
	"check": func(ctx context.Context, e redirect.Redirector) error {
		_, err := e.Check(ctx, everything())
		return err
	},
	"remove": func(ctx context.Context, e redirect.Redirector) error { return e.Remove(ctx, "") },
}

// denyTask tries what it may not, and fails where that is not told.
func denyTask(ctx context.Context, _ io.Writer, e redirect.Redirector, args []string) error {
	err := denied[args[0]](ctx, e)
	if !errors.Is(err, redirect.ErrNotPermitted) || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
		return fmt.Errorf("%s said %w, not %w with the capability", args[0], err, redirect.ErrNotPermitted)
	}
	return nil
}

func (u suite) notPermitted(t *testing.T) {
	for action := range denied {
		t.Run(action, func(t *testing.T) {
			h := testnet.Hosts(t, 1)[0]
			cmd := u.child(t.Context(), t, h, "deny", action)
			f, err := os.Open(cmd.Path) // nobody may not read the folder it lies in
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			cmd.ExtraFiles, cmd.Path, cmd.Dir = []*os.File{f}, "/proc/self/fd/3", "/"
			cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
			output(t, h, cmd)
		})
	}
}
