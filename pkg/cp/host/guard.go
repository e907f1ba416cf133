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
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
)

// A Credential is what a caller must show before a method is entered.
type Credential int

const (
	byToken       Credential = iota + 1 // a dataplane token, verified again by the method for the mesh that is asked
	byCertificate                       // an agent's certificate
	byEither                            // a certificate or a token, verified again by Auth.Proxy for the id that is claimed
)

// methods says what each method of the hosts' port needs. What is not here is
// refused.
var methods = map[string]Credential{
	hostv1.Host_Join_FullMethodName:     byToken,
	hostv1.Host_Register_FullMethodName: byCertificate,
	hostv1.Host_Leave_FullMethodName:    byCertificate,
	hostv1.Host_Answer_FullMethodName:   byCertificate,
	hostv1.Host_Sight_FullMethodName:    byCertificate,
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
		return knownToken(ctx, a.Sources)
	case byCertificate:
		_, err := a.Agent(ctx)
		return err
	case byEither:
		// Proxy is called next, for whoever is let in here.
		if a.Seen.Store != nil && a.known(ctx, a.Seen) == nil {
			return nil
		}
		return a.known(ctx, a.Sources)
	default:
		return fmt.Errorf("%w: nobody may call %.128q here", ErrDenied, method)
	}
}

// known tells strangers from those who have an agent's certificate or a token.
func (a *Auth) known(ctx context.Context, by Sources) error {
	if peerCertificate(ctx) != nil {
		_, err := a.agent(ctx, by)
		return err
	}
	if a.Open {
		return nil
	}
	return knownToken(ctx, by)
}

// knownToken tells strangers from those who have a token of some mesh, which is
// all that can be said before the call is read.
func knownToken(ctx context.Context, by Sources) error {
	raw, err := bareToken(ctx)
	if err != nil {
		return err
	}
	return by.Tokens.Known(ctx, raw)
}

// Unary lets only admitted callers in, and contains a panic to its request.
func (a *Auth) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
	defer a.contain(info.FullMethod, &err)
	ctx, event := begin(ctx, info.FullMethod)
	defer func() { a.finish(event, err) }()
	if err := a.admit(ctx, info.FullMethod); err != nil {
		a.refused(ctx, info.FullMethod, err)
		return nil, Status(err)
	}
	return next(ctx, req)
}

// Stream is Unary for streams.
func (a *Auth) Stream(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	defer a.contain(info.FullMethod, &err)
	// Before anything is refused: a host may be so for its clock.
	if err := s.SetHeader(metadata.Pairs(hostv1.TimeHeader, a.now().UTC().Format(time.RFC3339Nano))); err != nil {
		return err
	}
	ctx, event := begin(s.Context(), info.FullMethod)
	defer func() { a.finish(event, err) }()
	if err := a.admit(ctx, info.FullMethod); err != nil {
		a.refused(ctx, info.FullMethod, err)
		return Status(err)
	}
	if peerCertificate(ctx) != nil {
		if err := a.tellControlPlanes(s); err != nil {
			return err
		}
	}
	mine := a.seats.offer(a.now())
	defer func() { a.seats.leave(mine, a.now()) }()
	return next(srv, seatedStream{s, context.WithValue(ctx, seatKey{}, mine)})
}

// tellControlPlanes has the answer's headers say where hosts may turn to.
func (a *Auth) tellControlPlanes(s grpc.ServerStream) error {
	if a.ControlPlanes == nil {
		return nil
	}
	md := metadata.MD{}
	md.Append(hostv1.ControlPlanesHeader, a.ControlPlanes()...)
	return s.SetHeader(md)
}

func (a *Auth) contain(method string, err *error) {
	if p := recover(); p != nil {
		a.log().Error("call panicked", "method", method, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		*err = status.Error(codes.Internal, "the control plane could not do it; its log says why")
	}
}

// maxHeaders holds a token of 16 kB and what gRPC adds.
const maxHeaders = 32 << 10

// ServerOptions are what a grpc.Server on the hosts' port needs to know its
// callers: TLS and the two interceptors. How much a caller may send, and how
// often, is the streams' to say (xds.ServerOptions).
func (a *Auth) ServerOptions(creds credentials.TransportCredentials) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.Creds(creds),
		grpc.UnaryInterceptor(a.Unary),
		grpc.StreamInterceptor(a.Stream),
		grpc.MaxHeaderListSize(maxHeaders),
	}
}
