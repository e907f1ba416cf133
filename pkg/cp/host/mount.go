package host

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
)

// receiveTime is how long a caller may take to send one message.
const receiveTime = 10 * time.Second

// Mount adds the Host service to r. Its methods are served as streams of one
// message, which look the same on the wire: gRPC reads the whole message of a
// unary method before any interceptor sees the call, and so would hold
// megabytes, for as long as they like, for callers who have shown nothing.
func Mount(r grpc.ServiceRegistrar, s *Service) {
	r.RegisterService(&grpc.ServiceDesc{
		ServiceName: hostv1.Host_ServiceDesc.ServiceName,
		HandlerType: (*hostv1.HostServer)(nil),
		Streams: []grpc.StreamDesc{
			method("Join", s.Join),
			method("Register", s.Register),
			method("Leave", s.Leave),
			{StreamName: "Answer", ClientStreams: true, Handler: func(_ any, from grpc.ServerStream) error {
				return s.Answer(&grpc.GenericServerStream[hostv1.AnswerPart, hostv1.AnswerResponse]{ServerStream: from})
			}},
			method("Sight", s.Sight),
		},
		Metadata: hostv1.Host_ServiceDesc.Metadata,
	}, s)
}

func method[Req, Res any](name string, call func(context.Context, *Req) (*Res, error)) grpc.StreamDesc {
	// Without ClientStreams gRPC takes it for a unary method and passes by the
	// interceptor of streams.
	return grpc.StreamDesc{StreamName: name, ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
		req := new(Req)
		received := make(chan error, 1)
		go func() { received <- s.RecvMsg(req) }() // ends with the stream
		late := time.NewTimer(receiveTime)
		defer late.Stop()
		select {
		case err := <-received:
			if err != nil {
				return err
			}
		case <-late.C:
			return status.Errorf(codes.DeadlineExceeded, "the request did not arrive within %s", receiveTime)
		}
		resp, err := call(s.Context(), req)
		if err != nil {
			return err
		}
		return s.SendMsg(resp)
	}}
}
