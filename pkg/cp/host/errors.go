package host

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/cp/ca"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/token"
	"github.com/weft-mesh/weft/pkg/mesh"
)

var (
	// ErrUnauthenticated: the caller has not shown who he is.
	ErrUnauthenticated = errors.New("not authenticated")
	// ErrPutOut: the caller was a host of a mesh, and somebody has ended that.
	ErrPutOut = fmt.Errorf("%w: put out", ErrUnauthenticated)
	// ErrDenied: the caller is known and may not do this.
	ErrDenied = errors.New("not allowed")
	// ErrHeld: the dataplane of this name is another host's.
	ErrHeld = errors.New("this name is another host's")
	// ErrTooLarge: a part of the request is larger than its limit.
	ErrTooLarge = errors.New("too large")
)

// codesOf is the one place where an error becomes a gRPC code. The first match
// counts.
var codesOf = []struct {
	err  error
	code codes.Code
}{
	{context.Canceled, codes.Canceled},
	{context.DeadlineExceeded, codes.DeadlineExceeded},
	{ErrUnauthenticated, codes.Unauthenticated},
	{token.ErrRefused, codes.Unauthenticated},
	{ErrGrant, codes.Unauthenticated},
	{ErrDenied, codes.PermissionDenied},
	{ErrHeld, codes.PermissionDenied},
	{ErrTooLarge, codes.ResourceExhausted},
	{ErrNoAnswer, codes.InvalidArgument},
	{ca.ErrCSR, codes.InvalidArgument},
	{ca.ErrIdentity, codes.InvalidArgument},
	{mesh.ErrInvalid, codes.InvalidArgument},
	{store.ErrConflict, codes.Aborted},
	{store.ErrNotFound, codes.NotFound},
	{store.ErrFull, codes.Unavailable},
	{store.ErrUnavailable, codes.Unavailable},
}

// Status turns an error of this package into what a gRPC method returns. The
// words of an unforeseen error stay here: they may tell what is nobody's
// business.
func Status(err error) error {
	if err == nil {
		return nil
	}
	if s, ok := status.FromError(err); ok {
		return s.Err()
	}
	for _, c := range codesOf {
		if errors.Is(err, c.err) {
			s := status.New(c.code, err.Error())
			if errors.Is(err, ErrPutOut) {
				s = hostv1.PutOut(s)
			}
			return s.Err()
		}
	}
	return status.Error(codes.Internal, "the control plane could not do it; its log says why")
}

func denied(v mesh.Violations) error {
	if len(v) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrDenied, v.Error())
}
