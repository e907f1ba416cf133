//go:build !linux

package envoy

import "syscall"

// Elsewhere nothing ties Envoy's life to ours.
func childAttr() *syscall.SysProcAttr { return nil }

func raiseFileLimit(int) error { return nil }
