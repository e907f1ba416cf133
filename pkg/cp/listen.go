package cp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// listeners are the control plane's doors. One that is turned off is nil.
type listeners struct {
	hosts, api, apiTLS, socket, diagnostics net.Listener
}

// listen opens every door of cfg, or none.
func listen(ctx context.Context, cfg Config) (l listeners, err error) {
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	for _, door := range []struct {
		to            *net.Listener
		name, address string
	}{
		{&l.hosts, "hosts-address", cfg.HostsAddress},
		{&l.api, "api-address", cfg.APIAddress},
		{&l.apiTLS, "api-tls-address", cfg.APITLSAddress},
		{&l.diagnostics, "diagnostics-address", cfg.DiagnosticsAddress},
	} {
		if door.address == "" {
			continue
		}
		var lc net.ListenConfig
		*door.to, err = lc.Listen(ctx, "tcp", door.address)
		if errors.Is(err, syscall.EADDRINUSE) {
			return l, fmt.Errorf("%s: %s is in use; stop what listens there (ss -ltnp), or choose another with --%s", door.name, door.address, door.name)
		}
		if err != nil {
			return l, fmt.Errorf("%s: %w", door.name, err)
		}
	}
	if l.socket, err = listenUnix(ctx, cfg.APISocket); err != nil {
		return l, fmt.Errorf("api-socket: %w", err)
	}
	return l, nil
}

// listenUnix opens a socket that only its owner may use. One that a dead
// process left behind is replaced, one that answers is not.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		_ = conn.Close()
		return nil, fmt.Errorf("%s is in use by another control plane; stop it, or choose another with --api-socket", path)
	case errors.Is(err, syscall.ECONNREFUSED):
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	case !errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%s is in the way: %w", path, err)
	}
	// The mode must hold from the first moment, and only this thread's calls
	// come between: nothing else of us makes files yet.
	old := unix.Umask(0o177)
	defer unix.Umask(old)
	var lc net.ListenConfig
	return lc.Listen(ctx, "unix", path)
}

func (l listeners) close() {
	for _, one := range []net.Listener{l.hosts, l.api, l.apiTLS, l.socket, l.diagnostics} {
		if one != nil {
			_ = one.Close()
		}
	}
}
