package identity

import (
	"strings"

	"google.golang.org/grpc/status"
)

// A refusal is what a call to the control plane failed with, in the words that
// people read; gRPC's own begin with its codes. status.Code still tells them.
type refusal struct{ error }

func (r refusal) Error() string {
	words := status.Convert(r.error).Message()
	// So gRPC wraps why nobody was reached.
	why, unreached := strings.CutPrefix(words, `connection error: desc = "transport: Error while dialing: `)
	if !unreached {
		return words
	}
	return strings.TrimSuffix(why, `"`) + "; is weft-cp up, and does a firewall let its port through?"
}

func (r refusal) Unwrap() error { return r.error }
