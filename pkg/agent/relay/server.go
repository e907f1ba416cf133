package relay

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/grpc"
)

// Bounds on what Envoy may send: a request's size in bytes, streams at once on
// a connection, and how long a handshake takes.
const (
	maxRequest = 4 << 20
	maxStreams = 64
	maxShake   = 5 * time.Second
)

// The services hold the streams that Envoy uses and nothing else: the unary
// and state-of-the-world twins that come with the generated descriptions are
// not there to be called.
var (
	adsService = grpc.ServiceDesc{
		ServiceName: "envoy.service.discovery.v3.AggregatedDiscoveryService",
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{
			streamOf("DeltaAggregatedResources", (*Relay).deltaResources),
		},
	}
	sdsService = grpc.ServiceDesc{
		ServiceName: "envoy.service.secret.v3.SecretDiscoveryService",
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{
			streamOf("DeltaSecrets", (*Relay).deltaSecrets),
			streamOf("StreamSecrets", (*Relay).streamSecrets),
		},
	}
)

func streamOf[Req, Res any](name string, handle func(*Relay, grpc.BidiStreamingServer[Req, Res]) error) grpc.StreamDesc {
	return grpc.StreamDesc{
		StreamName: name, ServerStreams: true, ClientStreams: true,
		Handler: func(srv any, s grpc.ServerStream) error {
			return handle(srv.(*Relay), &grpc.GenericServerStream[Req, Res]{ServerStream: s})
		},
	}
}

// serve answers Envoy on l until ctx ends.
func (r *Relay) serve(ctx context.Context, l net.Listener) error {
	srv := grpc.NewServer(
		grpc.Creds(peerCredentials{allow: r.allowed, log: r.log}),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(maxShake),
		grpc.WaitForHandlers(true),
	)
	srv.RegisterService(&adsService, r)
	srv.RegisterService(&sdsService, r)
	defer context.AfterFunc(ctx, func() {
		r.part()
		srv.Stop()
	})()
	if err := srv.Serve(l); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	srv.Stop()
	return nil
}

// allowed are the users that may use the socket now.
func (r *Relay) allowed() []uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return allowedUIDs(r.cfg.UIDs)
}

// GiveTo has other users use the socket from now on than UIDs, by new
// connections; those that are there stay.
func (r *Relay) GiveTo(uids []uint32) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cfg.UIDs = uids
	return give(r.cfg.Socket, append(slices.Clone(uids), uint32(os.Geteuid()))[0])
}

func give(socket string, uid uint32) error { return os.Lchown(socket, int(uid), -1) }

func allowedUIDs(more []uint32) []uint32 {
	return append([]uint32{0, uint32(os.Getuid())}, more...)
}

// listen makes the socket and, if need be, its folder. A socket that a dead
// agent left is replaced; one that answers is ErrInUse.
func listen(ctx context.Context, path string, uids []uint32) (net.Listener, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder of socket: %w", err)
	}
	if err := checkFolder(dir, allowedUIDs(uids)); err != nil {
		return nil, err
	}
	if err := removeDead(ctx, path); err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for envoy: %w", err)
	}
	err = os.Chmod(path, 0o600)
	if len(uids) > 0 && err == nil {
		err = give(path, uids[0])
	}
	if err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("listen for envoy: %w", err)
	}
	return l, nil
}

// removeDead removes the socket of an agent that is gone.
func removeDead(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look for a former socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there and is no socket: remove it or choose another path", path)
	}
	d := net.Dialer{Timeout: maxShake}
	c, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		_ = c.Close()
	}
	if !errors.Is(err, errRefused) { // even one too busy to answer lives
		return fmt.Errorf("%s is %w by another agent: stop it or give this one another folder", path, ErrInUse)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove a dead agent's socket: %w", err)
	}
	return nil
}
