package store

import "context"

type fenceKey struct{}

// WithFence has the writes of ctx made in an epoch of leadership: a store with
// several writers refuses them with ErrFenced once there is a newer one.
func WithFence(ctx context.Context, epoch int64) context.Context {
	return context.WithValue(ctx, fenceKey{}, epoch)
}

// Fence is the epoch that ctx writes in; 0: of no leader.
func Fence(ctx context.Context) int64 {
	epoch, _ := ctx.Value(fenceKey{}).(int64)
	return epoch
}
