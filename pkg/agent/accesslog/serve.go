package accesslog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
)

// Bounds on what Envoy may send.
const (
	maxRequest = 4 << 20 // bytes
	maxStreams = 256
)

// export is the one method of the OTLP service of logs. Its messages pass as
// the bytes that they are, see decode.
var export = grpc.ServiceDesc{
	ServiceName: "opentelemetry.proto.collector.logs.v1.LogsService",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "Export",
		Handler: func(srv any, _ context.Context, read func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var body []byte
			if err := read(&body); err != nil {
				return nil, err
			}
			if err := decode(body, srv.(*Server).take); err != nil {
				return nil, status.Error(codes.InvalidArgument, err.Error())
			}
			return []byte{}, nil // an empty response says that all is well
		},
	}},
}

// serve answers Envoy on l until ctx ends.
func (s *Server) serve(ctx context.Context, l net.Listener) error {
	srv := grpc.NewServer(
		grpc.ForceServerCodecV2(rawCodec{}),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.WaitForHandlers(true),
	)
	srv.RegisterService(&export, s)
	defer context.AfterFunc(ctx, srv.Stop)()
	if err := srv.Serve(l); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	srv.Stop()
	return nil
}

// listen makes the socket, in the place of one that an agent before left. The
// agent's lock on its files sees to it that there is no other.
func listen(ctx context.Context, path string, uid int) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	err = os.Chmod(path, 0o600)
	if uid != 0 && err == nil {
		err = os.Lchown(path, uid, -1)
	}
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// GiveTo has the socket be a user's alone, beside root.
func (s *Server) GiveTo(uid int) error { return os.Lchown(s.cfg.Socket, uid, -1) }

// rawCodec leaves messages as they are.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("marshal %T: not bytes", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("unmarshal into %T: not bytes", v)
	}
	*b = data.Materialize()
	return nil
}
