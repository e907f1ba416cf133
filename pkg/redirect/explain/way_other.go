//go:build !linux

package explain

import (
	"fmt"
	"net/netip"
	"runtime"
)

// Way reports that routes are looked at on Linux.
func Way(netip.Addr) (out string, from netip.Addr, err error) {
	return "", from, fmt.Errorf("look at routes: not on %s", runtime.GOOS)
}
