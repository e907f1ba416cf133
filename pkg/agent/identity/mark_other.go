//go:build !linux

package identity

import "syscall"

// markSocket does nothing: only Linux redirects by marks.
func markSocket(syscall.RawConn, uint32) error { return nil }
