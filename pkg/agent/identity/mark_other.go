//go:build !linux

package identity

import (
	"syscall"
	"time"
)

// limitUnanswered does nothing: other systems have their own ways.
func limitUnanswered(syscall.RawConn, time.Duration) {}

// markSocket does nothing: only Linux redirects by marks.
func markSocket(syscall.RawConn, uint32) error { return nil }
