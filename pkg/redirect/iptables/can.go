//go:build linux

package iptables

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// expressible refuses what iptables has no means for, rather than leave it out.
func expressible(r redirect.Rules) error {
	for _, timed := range []struct {
		name string
		set  bool
	}{{"failOpen", r.FailOpen != 0}, {"confirmWithin", r.ConfirmWithin != 0}} {
		if timed.set {
			return fmt.Errorf("%w: %s takes a lease in the kernel, which iptables has not; leave it out, or use the nftables engine",
				redirect.ErrNotSupported, timed.name)
		}
	}
	return nil
}

// permitted looks before iptables is asked, which says it in many ways.
func permitted() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("ask for own capabilities: %w", err)
	}
	if data[0].Effective&(1<<unix.CAP_NET_ADMIN) == 0 {
		return fmt.Errorf("%w: it takes CAP_NET_ADMIN in this network namespace; run as root", redirect.ErrNotPermitted)
	}
	return nil
}
