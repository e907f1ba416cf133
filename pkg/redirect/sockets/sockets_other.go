//go:build !linux

package sockets

import (
	"fmt"
	"runtime"
)

// Find reports that looking at sockets needs Linux.
func Find(Query) ([]Socket, error) {
	return nil, fmt.Errorf("look at sockets: not on %s", runtime.GOOS)
}
