package relay

import (
	"net"
	"os"

	"golang.org/x/sys/windows"

	"github.com/weft-mesh/weft/pkg/keyfile"
)

// errRefused is what dialing a socket fails with that nobody listens at.
const errRefused = windows.WSAECONNREFUSED

// peerUID is this process's own: Windows notes nobody on a unix socket. Who is
// let in is said by the socket's access list, which it has of its folder: to
// connect is to write to it.
func peerUID(net.Conn) (uint32, error) { return uint32(os.Getuid()), nil }

func peerProcess(net.Conn) string { return "" }

// checkFolder fails unless dir is the agent's, administrators' and the system's
// alone.
func checkFolder(dir string, _ []uint32) error { return keyfile.Dir(dir) }
