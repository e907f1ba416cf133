//go:build !windows

package dns

import "syscall"

// Why an address cannot be listened at, or a connection not be taken.
const (
	errInUse     = syscall.EADDRINUSE
	errNoAddress = syscall.EADDRNOTAVAIL
	errNoFamily  = syscall.EAFNOSUPPORT
	errFiles     = syscall.EMFILE // this process has as many as it may
	errAllFiles  = syscall.ENFILE // and here the host
)
