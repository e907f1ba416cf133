package dns

import "golang.org/x/sys/windows"

// Why an address cannot be listened at, or a connection not be taken: those of
// package syscall are of its own making here, and no call fails with them.
const (
	errInUse     = windows.WSAEADDRINUSE
	errNoAddress = windows.WSAEADDRNOTAVAIL
	errNoFamily  = windows.WSAEAFNOSUPPORT
	errFiles     = windows.WSAEMFILE
	errAllFiles  = windows.WSAENOBUFS
)
