package xds

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var errStopping = status.Error(codes.Unavailable, "the control plane stops; come back later")

// What an error without a code of its own means, by where it came from.
const (
	unauthenticated = codes.Unauthenticated
	dropped         = codes.PermissionDenied
	unprepared      = codes.Unavailable
)

// statusOf is the one place where an error becomes a gRPC status.
func statusOf(err error, otherwise codes.Code) error {
	if err == nil {
		return nil
	}
	if st, ok := status.FromError(err); ok {
		return st.Err() // with its details
	}
	code := otherwise
	switch {
	case errors.Is(err, ErrUnknown):
		code = codes.NotFound
	case errors.Is(err, ErrBroken):
		code = codes.FailedPrecondition
	case errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	}
	return status.Error(code, err.Error())
}
