package rest

import (
	"context"
	"net"
	"net/http"
	"os"

	"golang.org/x/sys/unix"
)

// peerKey is where ConnContext keeps the uid of the process at the other end
// of a unix socket.
type peerKey struct{}

// ConnContext is for http.Server.ConnContext: it asks the kernel who is at
// the other end of a unix socket, for LocalSocket.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return ctx
	}
	var peer *unix.Ucred
	var peerErr error
	err = raw.Control(func(fd uintptr) {
		peer, peerErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err != nil || peerErr != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, peer.Uid)
}

// LocalSocket makes root, and the user that the control plane runs as,
// administrators on a unix socket. The server needs ConnContext.
func LocalSocket(r *http.Request) (User, error) {
	uid, ok := r.Context().Value(peerKey{}).(uint32)
	if !ok || (uid != 0 && int(uid) != os.Geteuid()) {
		return User{}, ErrNoCredential
	}
	return admin(), nil
}
