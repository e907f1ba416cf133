package identity

import "google.golang.org/grpc/status"

// A refusal is what a call to the control plane failed with, in the words that
// people read; gRPC's own begin with its codes. status.Code still tells them.
type refusal struct{ error }

func (r refusal) Error() string { return status.Convert(r.error).Message() }

func (r refusal) Unwrap() error { return r.error }
