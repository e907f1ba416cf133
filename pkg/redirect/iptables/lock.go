//go:build linux

package iptables

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockTime bounds the wait for other writers of ours. Whoever is in the network
// namespace can hold the lock, so it only keeps writers from disturbing each
// other: what they write is right without it.
const lockTime = 10 * time.Second

// lock takes the calling thread's network namespace for ourselves, among all
// processes. It leaves no file behind and ends with the process.
func lock(ctx context.Context) (unlock func()) {
	f, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return func() {}
	}
	ctx, cancel := context.WithTimeout(ctx, lockTime)
	locked, leave := make(chan struct{}), make(chan struct{})
	go func() {
		defer f.Close() // and with it the lock
		if unix.Flock(int(f.Fd()), unix.LOCK_EX) == nil {
			close(locked)
			<-leave
		}
	}()
	select {
	case <-locked:
	case <-ctx.Done():
	}
	return func() {
		cancel()
		close(leave)
	}
}
