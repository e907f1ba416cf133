package host

import (
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
)

// A Credential is what a caller must show before a method is entered.
type Credential int

const (
	byToken       Credential = iota + 1 // a dataplane token, verified by the method for the mesh that is asked
	byCertificate                       // an agent's certificate
	byEither                            // a certificate or a token, verified by Auth.Proxy for the id that is claimed
)

// methods says what each method of the hosts' port needs. What is not here is
// refused.
var methods = map[string]Credential{
	hostv1.Host_Join_FullMethodName:     byToken,
	hostv1.Host_Register_FullMethodName: byCertificate,
	hostv1.Host_Leave_FullMethodName:    byCertificate,
	"/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources": byEither,
	"/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources":  byEither,
}

// Covered fails when a registered method is missing in the table of what
// callers must show. Call it before serving: such a method would only ever
// refuse, and whoever added it forgot to decide.
func Covered(services map[string]grpc.ServiceInfo) error {
	for _, service := range slices.Sorted(maps.Keys(services)) {
		for _, m := range services[service].Methods {
			full := "/" + service + "/" + m.Name
			if _, ok := methods[full]; !ok {
				return fmt.Errorf("method %s is registered on the hosts' port but nothing says who may call it", full)
			}
		}
	}
	return nil
}

func (a *Auth) admit(ctx context.Context, method string) error {
	switch methods[method] {
	case byToken:
		_, err := bareToken(ctx)
		return err
	case byCertificate:
		_, err := a.Agent(ctx)
		return err
	case byEither:
		if peerCertificate(ctx) != nil {
			_, err := a.Agent(ctx)
			return err
		}
		if a.Open {
			return nil
		}
		_, err := bareToken(ctx)
		return err
	default:
		return fmt.Errorf("%w: nobody may call %.128q here", ErrDenied, method)
	}
}

// Unary lets only admitted callers in, and contains a panic to its request.
func (a *Auth) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
	defer a.contain(info.FullMethod, &err)
	if err := a.admit(ctx, info.FullMethod); err != nil {
		return nil, Status(err)
	}
	return next(ctx, req)
}

// Stream is Unary for streams.
func (a *Auth) Stream(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	defer a.contain(info.FullMethod, &err)
	if err := a.admit(s.Context(), info.FullMethod); err != nil {
		return Status(err)
	}
	return next(srv, s)
}

func (a *Auth) contain(method string, err *error) {
	if p := recover(); p != nil {
		a.log().Error("call panicked", "method", method, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		*err = status.Error(codes.Internal, "the control plane could not do it; its log says why")
	}
}

// Limits of a connection on the hosts' port.
const (
	// maxMessage holds the first request of a proxy that reconnects and names
	// every resource that it has: ten thousand of them take 1 MB.
	maxMessage = 4 << 20
	// maxHeaders holds a token of 16 kB and what gRPC adds.
	maxHeaders = 32 << 10
	maxStreams = 64
	// handshakeTime is what a connection has until it is one.
	handshakeTime = 10 * time.Second
	// idleProbe and probeTimeout find a half-open connection within 20 s.
	idleProbe    = 10 * time.Second
	probeTimeout = 10 * time.Second
	// connectionAge is how long a certificate shown once is believed on one
	// connection; agents renew theirs at 15 of 30 days and show the new one
	// when they connect anew. gRPC spreads it by a tenth.
	connectionAge   = 24 * time.Hour
	connectionGrace = time.Minute
)

// ServerOptions are all that a grpc.Server on the hosts' port needs: TLS, the
// two interceptors, limits and keepalive.
func (a *Auth) ServerOptions(creds credentials.TransportCredentials) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.Creds(creds),
		grpc.UnaryInterceptor(a.Unary),
		grpc.StreamInterceptor(a.Stream),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(handshakeTime),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: idleProbe, Timeout: probeTimeout,
			MaxConnectionAge: connectionAge, MaxConnectionAgeGrace: connectionGrace,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: idleProbe / 2, PermitWithoutStream: true}),
	}
}
