//go:build linux

package ebpf

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect"
)

const instead = "use the nftables engine"

// expressible refuses what programs at these hooks have no means for, rather
// than leave it out. All of it is told at once.
func expressible(r redirect.Rules) error {
	var errs []error
	for _, c := range []struct {
		asked bool
		name  string
		why   string
	}{
		{r.Inbound.Method == redirect.Rewrite, "inbound.method (inboundMethod: rewrite)", "the lookup of a listener leaves destination and port as they are; leave it out"},
		{len(r.Outbound.Forwarded) > 0, "outbound.forwarded (forwarded)", "what is forwarded is no call of a socket of this host; leave it out"},
		{len(r.Outbound.ExcludeInterfaces) > 0, "outbound.excludeInterfaces (excludeOutbound: interface:…)", "a call is redirected before it has a route; exclude the networks behind it instead (cidr:…)"},
	} {
		if c.asked {
			errs = append(errs, fmt.Errorf("%w: %s: %s, or %s", redirect.ErrNotSupported, c.name, c.why, instead))
		}
	}
	return errors.Join(errs...)
}

// A capability, by number and name.
type capability struct {
	bit  int
	name string
}

var (
	netAdmin = capability{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"}
	sysAdmin = capability{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}
)

// permitted looks before the kernel is asked, which says it in many ways.
func permitted(wanted ...capability) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("ask for own capabilities: %w", err)
	}
	var missing []string
	for _, c := range wanted {
		if data[c.bit/32].Effective&(1<<(c.bit%32)) == 0 {
			missing = append(missing, c.name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: eBPF takes %s; run as root", redirect.ErrNotPermitted, strings.Join(missing, " and "))
	}
	return nil
}

// explain turns what the kernel says about rights into the words of package
// redirect.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: it takes CAP_NET_ADMIN and CAP_SYS_ADMIN; run as root (%w)", redirect.ErrNotPermitted, err)
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w: the bpf file system is read-only; remount it, or %s (%w)", redirect.ErrNotSupported, instead, err)
	}
	return err
}

// lacking says which feature the kernel lacks when programs do not load.
func lacking(err error) error {
	short := err
	if v := (*ebpf.VerifierError)(nil); errors.As(err, &v) {
		short = fmt.Errorf("%w", v.Cause) // the log is for its authors
	}
	for _, h := range hooks {
		if strings.Contains(err.Error(), h.program) {
			if errors.Is(err, unix.EPERM) && !errors.As(err, new(*ebpf.VerifierError)) {
				return fmt.Errorf("load program %s: %w: the kernel forbids it (kernel lockdown, or a missing capability); %s (%w)", h.program, redirect.ErrNotPermitted, instead, short)
			}
			return fmt.Errorf("load program %s: %w: the kernel does not take it, by which %s; that needs %s or newer, all of them Linux 5.10; %s (%w)",
				h.program, redirect.ErrNotSupported, h.what, h.since, instead, short)
		}
	}
	switch {
	case errors.Is(err, btf.ErrNotFound), errors.Is(err, btf.ErrNotSupported), strings.Contains(err.Error(), "BTF"):
		return fmt.Errorf("load programs: %w: the kernel does not describe its types, by which the programs find their way (CONFIG_DEBUG_INFO_BTF, Linux 5.5; file /sys/kernel/btf/vmlinux); %s (%w)",
			redirect.ErrNotSupported, instead, short)
	case errors.Is(err, unix.ENOSYS), errors.Is(err, ebpf.ErrNotSupported), errors.Is(err, unix.EINVAL):
		return fmt.Errorf("load programs: %w: the kernel lacks a kind of map or eBPF itself (CONFIG_BPF_SYSCALL, CONFIG_CGROUP_BPF, Linux 5.10); %s (%w)", redirect.ErrNotSupported, instead, short)
	}
	return fmt.Errorf("load programs: %w", explain(short))
}

// notAttached says why a program does not hang where it should.
func notAttached(k hook, at string, err error) error {
	switch {
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS), errors.Is(err, ebpf.ErrNotSupported):
		return fmt.Errorf("attach %s to %s: %w: the kernel does not take it there, by which %s; that needs %s and CONFIG_CGROUP_BPF; %s (%w)",
			k.name, at, redirect.ErrNotSupported, k.what, k.since, instead, err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("attach %s to %s: %w: somebody hangs there, or above, who shares with nobody (see bpftool cgroup tree), or a capability is missing; take that off, or %s (%w)",
			k.name, at, redirect.ErrNotPermitted, instead, err)
	}
	return fmt.Errorf("attach %s to %s: %w", k.name, at, err)
}
