//go:build linux

package iptables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/pkg/redirect"
)

const (
	// runTime bounds a run of iptables, which takes milliseconds, and a second
	// or two for thousands of rules on a busy host.
	runTime = 20 * time.Second
	// lockWait is how long iptables waits for others that write, in seconds.
	lockWait = "5"
	// stopTime bounds the wait for a child's pipes once it has ended: more than
	// a busy host has the agent wait for a processor.
	stopTime = 10 * time.Second
)

// A call is one run of a program of iptables.
type call struct {
	path  string
	args  []string
	input string
}

// A failure is a run that did not end well.
type failure struct {
	call call
	said string
	err  error
}

func (f *failure) Error() string {
	said := strings.Join(strings.Fields(f.said), " ")
	const most = 400
	if len(said) > most {
		said = said[:most] + " …"
	}
	return fmt.Sprintf("%s %s: %v: %s", filepath.Base(f.call.path), strings.Join(f.call.args, " "), f.err, said)
}

func (f *failure) Unwrap() error { return f.err }

// run runs programs side by side, each in the calling thread's network
// namespace, and returns what they wrote. Every one is waited for.
func run(ctx context.Context, calls ...call) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, runTime)
	defer cancel()
	type child struct {
		cmd       *exec.Cmd
		out, said bytes.Buffer
		err       error
	}
	children := make([]child, len(calls))
	for i, c := range calls {
		cmd := exec.CommandContext(ctx, c.path, c.args...)
		cmd.Env = []string{"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
		cmd.Dir = "/"
		// Who is killed must not write any more when others do.
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		cmd.WaitDelay = stopTime
		cmd.Stdin = strings.NewReader(c.input)
		cmd.Stdout, cmd.Stderr = &children[i].out, &children[i].said
		children[i].cmd = cmd
		children[i].err = cmd.Start() // here: it clones the thread with its namespace
	}
	var errs []error
	texts := make([]string, len(calls))
	for i := range children {
		c := &children[i]
		if c.err == nil {
			c.err = c.cmd.Wait()
		}
		if c.err != nil {
			if ctx.Err() != nil {
				c.err = errors.Join(ctx.Err(), c.err)
			}
			errs = append(errs, explain(&failure{calls[i], c.said.String(), c.err}))
		}
		texts[i] = c.out.String()
	}
	return texts, errors.Join(errs...)
}

// explain turns what iptables says about rights and abilities into the words
// of package redirect.
func explain(f *failure) error {
	says := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(f.said, w) {
				return true
			}
		}
		return false
	}
	switch {
	case errors.Is(f.err, fs.ErrNotExist):
		return fmt.Errorf("%w: %s is gone; install iptables, or use the nftables engine (%w)", redirect.ErrNotSupported, f.call.path, f)
	case says("Permission denied", "Operation not permitted", "you must be root"):
		return fmt.Errorf("%w: it takes CAP_NET_ADMIN in this network namespace; run as root (%w)", redirect.ErrNotPermitted, f)
	case says("Can't open socket to ipset"):
		return fmt.Errorf("%w: it takes CAP_NET_RAW, as iptables asks for sets by a raw socket; run as root, or grant it to this process and what it starts (AmbientCapabilities=) (%w)", redirect.ErrNotPermitted, f)
	case says("unrecognized option '--wait", "unknown option \"--wait"):
		return fmt.Errorf("%w: iptables is older than 1.6.2 and knows no --wait; upgrade it, or use the nftables engine (%w)", redirect.ErrNotSupported, f)
	case says("Failed to initialize nft", "Protocol not supported"):
		return fmt.Errorf("%w: the kernel has no nf_tables (CONFIG_NF_TABLES, CONFIG_NFT_COMPAT); use iptables-legacy (%w)", redirect.ErrNotSupported, f)
	case says("Table does not exist", "unable to initialize table", "can't initialize"):
		return fmt.Errorf("%w: the kernel lacks an iptables table (CONFIG_IP_NF_RAW, _MANGLE, _NAT, _FILTER and CONFIG_IP6_NF_…); use the nftables engine (%w)", redirect.ErrNotSupported, f)
	}
	return f
}

// asFailure is the failure that explain had no words for.
func asFailure(err error) (*failure, bool) {
	f, ok := errors.AsType[*failure](err)
	return f, ok && !errors.Is(err, redirect.ErrNotSupported) && !errors.Is(err, redirect.ErrNotPermitted)
}
