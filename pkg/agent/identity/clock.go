package identity

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
)

// ErrNoClock: the control plane answered, but did not tell its time.
var ErrNoClock = errors.New("the control plane does not tell its time")

// Ahead asks a control plane for its time, and returns by how much this host's
// clock is ahead of it, give or take half of the time that the answer took. It
// registers nothing: what it sends is refused. That it could be sent shows that
// connection and certificate are well.
func (i *Identity) Ahead(ctx context.Context) (ahead, within time.Duration, err error) {
	conn, err := i.Dial(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	var told metadata.MD
	began := i.now()
	_, err = hostv1.NewHostClient(conn).Register(ctx, &hostv1.RegisterRequest{}, grpc.Header(&told))
	took := i.now().Sub(began)
	if code := status.Code(err); code == codes.Unavailable || code == codes.DeadlineExceeded || code == codes.Unauthenticated || code == codes.PermissionDenied {
		return 0, 0, fmt.Errorf("ask the control plane for its time: %w", refusal{err})
	}
	for _, text := range told.Get(hostv1.TimeHeader) {
		if its, err := time.Parse(time.RFC3339Nano, text); err == nil {
			return began.Add(took / 2).Sub(its).Round(time.Millisecond), took / 2, nil
		}
	}
	return 0, 0, ErrNoClock
}
