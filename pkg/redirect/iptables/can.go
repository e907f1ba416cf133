//go:build linux

package iptables

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/cgroup"
)

// rules are normal rules, with what they need of the host at one moment.
type rules struct {
	redirect.Rules
	cgroups map[string]uint64 // ids of the folders that are there
	// bridged: netfilter may look at what bridges carry (br_netfilter), as it
	// does where Docker runs.
	bridged bool
	// segments are the networks at interfaces whose forwarded connections are
	// redirected, where bridged.
	segments []segment
}

// A segment is a network at an interface.
type segment struct {
	at     string
	prefix netip.Prefix
}

// resolve validates rules, refuses what iptables has no means for and finds the
// cgroups that they name.
func resolve(r redirect.Rules) (rules, error) {
	if err := r.Validate(); err != nil {
		return rules{}, err
	}
	r = r.Normal()
	if err := expressible(r); err != nil {
		return rules{}, err
	}
	want := rules{Rules: r}
	if _, err := os.Stat("/proc/sys/net/bridge"); err == nil {
		want.bridged = true
		if want.segments, err = segments(r.Outbound.Forwarded); err != nil {
			return rules{}, err
		}
	}
	paths := cgroupsOf(r)
	if len(paths) == 0 {
		return want, nil
	}
	root, err := cgroup.Root()
	if err != nil {
		return rules{}, err
	}
	want.cgroups, err = cgroup.IDs(root, paths)
	return want, err
}

// segments are the networks at interfaces of those names, sorted.
func segments(names []string) (out []segment, err error) {
	if len(names) == 0 {
		return nil, nil
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("look at the interfaces: %w", err)
	}
	for _, i := range interfaces {
		named := func(name string) bool {
			stem, open := strings.CutSuffix(name, "*")
			return name == i.Name || open && strings.HasPrefix(i.Name, stem)
		}
		if !slices.ContainsFunc(names, named) {
			continue
		}
		addresses, err := i.Addrs()
		if err != nil {
			return nil, fmt.Errorf("look at the addresses of %s: %w", i.Name, err)
		}
		for _, a := range addresses {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				out = append(out, segment{i.Name, p.Masked()})
			}
		}
	}
	slices.SortFunc(out, func(a, b segment) int {
		return cmp.Or(cmp.Compare(a.at, b.at), a.prefix.Addr().Compare(b.prefix.Addr()), cmp.Compare(a.prefix.Bits(), b.prefix.Bits()))
	})
	return slices.Compact(out), nil
}

// cgroupsOf are all cgroups that rules name.
func cgroupsOf(r redirect.Rules) []string {
	return slices.Concat(r.Proxy.Cgroups, r.Outbound.Only.Cgroups, r.Outbound.Exclude.Cgroups, r.DNS.Exclude.Cgroups)
}

// plainPath is what --path takes and gives back as it was, of at most
// XT_CGROUP_PATH_MAX bytes with its end, see
// include/uapi/linux/netfilter/xt_cgroup.h.
var plainPath = regexp.MustCompile(`^[^\s'"-][^\s'"]{0,510}$`)

// expressible refuses what iptables has no means for, rather than leave it out.
func expressible(r redirect.Rules) error {
	var errs []error
	refuse := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: %s, or use the nftables engine", redirect.ErrNotSupported, fmt.Sprintf(format, args...)))
	}
	if len(r.Outbound.Forwarded) > 0 && len(r.Outbound.ExcludeInterfaces) > 0 {
		refuse("iptables cannot tell where a forwarded connection will leave before it is redirected: leave out outbound.excludeInterfaces (%s) or outbound.forwarded",
			strings.Join(r.Outbound.ExcludeInterfaces, ", "))
	}
	for _, p := range cgroupsOf(r) {
		if !plainPath.MatchString(p) {
			refuse("iptables takes no cgroup called %q; rename it, or name one above it", p)
		}
	}
	for _, i := range slices.Concat(r.Inbound.ExcludeInterfaces, r.Outbound.ExcludeInterfaces, r.Outbound.Forwarded) {
		if strings.HasSuffix(strings.TrimSuffix(i, "*"), "+") || strings.ContainsAny(i, `'\`) || strings.HasPrefix(i, "-") || strings.HasPrefix(i, "!") {
			refuse("iptables takes no interface called %q; rename it, or name it by a pattern such as eth*", i)
		}
	}
	return errors.Join(errs...)
}

// permitted looks before iptables is asked, which says it in many ways.
func permitted() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("ask for own capabilities: %w", err)
	}
	for _, c := range []struct {
		bit       int
		name, why string
	}{
		{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN", "to change rules"},
		{unix.CAP_NET_RAW, "CAP_NET_RAW", "as iptables asks for sets by a raw socket"},
	} {
		if data[0].Effective&(1<<c.bit) == 0 {
			return fmt.Errorf("%w: it takes %s in this network namespace, %s; run as root, or grant it (AmbientCapabilities=)", redirect.ErrNotPermitted, c.name, c.why)
		}
	}
	return nil
}
