//go:build !linux

package dns

import (
	"fmt"
	"runtime"
	"syscall"
)

func (f *forwarder) control(_, _ string, _ syscall.RawConn) error { return nil }

func (f *forwarder) permitted() error {
	if f.mark == 0 {
		return nil
	}
	return fmt.Errorf("mark our queries on %s: %w: set no mark", runtime.GOOS, ErrNotPermitted)
}
