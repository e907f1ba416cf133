//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// notifyReload sends what asks to read the configuration again.
func notifyReload(to chan<- os.Signal) { signal.Notify(to, syscall.SIGHUP) }
