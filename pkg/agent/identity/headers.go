package identity

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
)

// withHost has every call say which machine makes it.
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
