package identity

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
)

// withHost has a call say which machine makes it.
func withHost(ctx context.Context) context.Context {
	for header, id := range map[string]string{hostv1.MachineHeader: machineID(), hostv1.BootHeader: bootID()} {
		if id != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, header, id)
		}
	}
	return ctx
}

func tellHost() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			return next(withHost(ctx), method, req, reply, conn, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			return next(withHost(ctx), desc, conn, method, opts...)
		}),
	}
}

// watchCalls learns of all calls on a connection: that a control plane is
// there, where others are, and that it does not know this host's Dataplane.
func (i *Identity) watchCalls() []grpc.DialOption {
	return append(tellHost(),
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			var told metadata.MD
			err := next(ctx, method, req, reply, conn, append(opts, grpc.Header(&told))...)
			if err == nil {
				i.Learn(told.Get(hostv1.ControlPlanesHeader))
				i.heard()
			}
			return err
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			s, err := next(ctx, desc, conn, method, opts...)
			if err != nil {
				return nil, err
			}
			return &watched{ClientStream: s, i: i}, nil
		}))
}

// A watched stream is contact with a control plane from its first message to
// its end. One goroutine receives.
type watched struct {
	grpc.ClientStream
	i     *Identity
	heard bool
}

func (w *watched) RecvMsg(m any) error {
	err := w.ClientStream.RecvMsg(m)
	switch {
	case err == nil && !w.heard:
		w.heard = true
		if told, err := w.Header(); err == nil {
			w.i.Learn(told.Get(hostv1.ControlPlanesHeader))
		}
		if p, ok := peer.FromContext(w.Context()); ok {
			w.i.connected(p.Addr.String())
		}
		w.i.met()
	case err != nil:
		if w.heard {
			w.heard = false
			w.i.parted()
		}
		if status.Code(err) == codes.NotFound {
			w.i.Renew() // what was registered has been lost
		}
	}
	return err
}
