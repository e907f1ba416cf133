package envoy

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Envoy outlives the program that started it, see Run.
const outlives = true

// An Envoy that can be replaced asks the kernel to end it with its parent. So
// it must be nobody's child: this program starts itself again, that one starts
// a third, ends, and the third becomes Envoy when it has been taken up by init
// and this program lets it. What each of them is to do is in its environment.
const (
	launchEnv  = "WEFT_LAUNCH" // launchOnce, or the pid of the first
	launchOnce = "first"
	// launchTime is how long all that may take.
	launchTime = 10 * time.Second
)

// The descriptors that both have.
const (
	// launchReport takes a line with Envoy's pid, then what went wrong. It is
	// closed when Envoy runs.
	launchReport = 3 + iota
	launchHeld   // the lock of launches
	launchGo     // gives what it is to be when Envoy may run, and nothing if never
	launchBinary // the binary, where that has no file any more
)

// Launched does what this program was started for, where that is to start
// Envoy. Programs that run a Process call it before all else.
func Launched() (was bool, code int) {
	what := os.Getenv(launchEnv)
	if what == "" {
		return false, 0
	}
	links := make([]*os.File, 0, 4)
	for fd := launchReport; fd <= launchBinary; fd++ {
		unix.CloseOnExec(fd)
		links = append(links, os.NewFile(uintptr(fd), "link"))
	}
	var err error
	if what == launchOnce {
		err = launchSecond(links)
	} else {
		err = becomeEnvoy(what, links[launchGo-launchReport])
	}
	if err != nil {
		fmt.Fprintln(links[0], err)
		return true, 1
	}
	return true, 0
}

// launchSecond starts the one that becomes Envoy, and tells its pid.
func launchSecond(links []*os.File) error {
	cmd := exec.Command(self) //nolint:noctx // it is to outlive us
	cmd.Args[0] = os.Args[0]
	cmd.Env = []string{launchEnv + "=" + strconv.Itoa(os.Getpid())}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = links
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C on our terminal is not for Envoy
	if err := cmd.Start(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(links[0], cmd.Process.Pid)
	return err
}

// self is this program, also when its file has been replaced.
const self = "/proc/self/exe"

// An order is what somebody is to become.
type order struct {
	Binary string
	Name   string // by which it is called
	Args   []string
	User   *User
}

// becomeEnvoy waits until its parent is gone and it is let, and becomes what it
// is told.
func becomeEnvoy(parent string, let *os.File) error {
	var o order
	if err := json.NewDecoder(let).Decode(&o); err != nil {
		return errors.New("who wanted to start envoy has ended")
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for strconv.Itoa(os.Getppid()) == parent {
		<-tick.C
	}
	// What it makes it gives modes; the sockets by which Envoys hand over are for
	// two users, in a folder that is closed to others.
	unix.Umask(0)
	if err := o.User.become(); err != nil {
		return err
	}
	env := []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"} // nothing of ours is its business
	err := syscall.Exec(o.Binary, append([]string{o.Name}, o.Args...), env)
	return fmt.Errorf("start %s: %w", o.Binary, err)
}

// launch starts an Envoy, of the form that wanted makes of what it may have. It
// lives on when ctx ends, but is watched no more. old is the one whose place it
// takes; nil is none.
func (p *Process) launch(ctx context.Context, old *running) (*running, error) {
	if err := p.makeFolders(); err != nil { // its user may be another one now
		return nil, err
	}
	held, err := p.holdLaunch(ctx)
	if err != nil {
		return nil, err
	}
	defer held.Close()
	epoch := 0
	if old != nil {
		epoch = old.epoch + 1
	}
	log, err := p.newLog(epoch)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	r, err := p.launchWith(ctx, epoch, old, log, held)
	if err != nil {
		_ = os.Remove(log.Name())
		return nil, fmt.Errorf("start %s: %w", p.cfg.Binary, err)
	}
	return r, nil
}

// launchWith returns when Envoy runs.
func (p *Process) launchWith(ctx context.Context, epoch int, old *running, log, held *os.File) (*running, error) {
	within, cancel := context.WithTimeout(ctx, launchTime)
	defer cancel()
	read, report, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer read.Close()
	let, letGo, err := os.Pipe()
	if err != nil {
		_ = report.Close()
		return nil, err
	}
	defer letGo.Close()
	cmd := exec.CommandContext(within, self)
	cmd.Args[0] = "weft-launch-envoy"
	cmd.Dir = p.home()
	cmd.Env = []string{launchEnv + "=" + launchOnce}
	cmd.Stdout, cmd.Stderr = log, log
	binary := p.held
	if binary == nil {
		binary = held // nobody looks
	}
	cmd.ExtraFiles = []*os.File{report, held, let, binary}
	cmd.SysProcAttr = new(syscall.SysProcAttr)
	leave := p.enterCgroup(cmd.SysProcAttr)
	err = cmd.Start()
	leave()
	_ = errors.Join(report.Close(), let.Close())
	if err != nil {
		return nil, err
	}
	defer func() { _ = cmd.Wait() }() // what it has to say it reports
	stop := context.AfterFunc(within, func() { _ = read.SetReadDeadline(time.Now()) })
	defer stop()
	lines := bufio.NewReader(io.LimitReader(read, 4<<10))
	first, err := lines.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("it was not heard of: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		return nil, errors.New(strings.TrimSpace(first))
	}
	r, err := p.watch(ctx, pid, epoch)
	if err != nil {
		return nil, err
	}
	p.prepare(ctx, pid)
	f, err := p.ready(old, r, log)
	if err != nil {
		_ = letGo.Close() // it ends
		<-r.gone
		return nil, err
	}
	if err := json.NewEncoder(letGo).Encode(order{binaryOf(p.held, f, launchBinary), p.cfg.Binary, r.args, f.User}); err != nil {
		return nil, err
	}
	rest, err := io.ReadAll(lines)
	if err != nil {
		_ = r.signal(syscall.SIGKILL)
		return nil, fmt.Errorf("it does not run after %s: %w", launchTime, err)
	}
	if len(rest) > 0 {
		<-r.gone
		return nil, errors.New(strings.TrimSpace(string(rest)))
	}
	return r, nil
}

// binaryOf is the path of a form's binary in a child that has the held one as
// descriptor fd.
func binaryOf(held *os.File, f form, fd int) string {
	if held != nil && f.Binary == heldPath(held) {
		return fmt.Sprintf("/proc/self/fd/%d", fd)
	}
	return f.Binary
}

// ready makes everything that r needs when it becomes Envoy.
func (p *Process) ready(old, r *running, log *os.File) (form, error) {
	r.limits = limitsOf(r.pid)
	p.limits = r.limits
	f, err := p.want(r.limits)
	if err != nil {
		return f, err
	}
	r.args, r.as = f.args(r.epoch), f.User
	if err := errors.Join(p.writeBootstrap(f), f.User.own(log)); err != nil {
		return f, err
	}
	if old == nil {
		// What another user has made there it could not take away.
		_ = os.Remove(p.sharedMemory())
		return f, giveHome(p.home(), f.User, nil)
	}
	return f, errors.Join(p.shareHome(old, f.User), p.giveMemory(f.User))
}

// prepare does for a process that becomes Envoy what only others can do.
func (p *Process) prepare(ctx context.Context, pid int) {
	if err := limitFiles(pid, p.cfg.FileLimit); err != nil {
		p.log.Warn("envoy's limit of open files could not be set", "pid", pid, "err", err)
	}
	if p.cfg.Settle == nil {
		return
	}
	if err := p.cfg.Settle(ctx, pid); err != nil {
		p.log.Warn("envoy stays in this agent's own group of processes, and ends where that is ended as a whole", "pid", pid, "error", err)
	}
}

// holdLaunch takes the lock of launches. While somebody has it, an Envoy may be
// about to come up that cannot be seen yet.
func (p *Process) holdLaunch(ctx context.Context) (*os.File, error) {
	path := filepath.Join(p.cfg.Dir, "launch.lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the start of envoy: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, launchTime)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: an Envoy has been starting for %s", path, launchTime)
		}
	}
}

// limitFiles lets Envoy open so many files; 0 is what its hard limit says,
// where the usual soft one is 1024.
func limitFiles(pid int, n uint64) error {
	var l unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &l); err != nil {
		return fmt.Errorf("read the limit: %w", err)
	}
	want := unix.Rlimit{Cur: n, Max: max(n, l.Max)}
	if n == 0 {
		want.Cur = l.Max
	}
	if want == l {
		return nil
	}
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &want, nil); err != nil {
		return fmt.Errorf("set it to %d: %w", want.Cur, err)
	}
	return nil
}
