package cp

import (
	"context"
	"errors"
	"log/slog"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/sqlite"
)

// openStore opens the store that cfg names.
func openStore(ctx context.Context, cfg Config, log *slog.Logger) (store.Keeper, error) {
	return sqlite.Open(ctx, cfg.DataDir, log)
}

// storeFails waits until the store can promise nothing any more.
func storeFails(ctx context.Context, s store.Keeper) error {
	select {
	case <-s.Failed():
		return errors.New("the store's disk failed: the control plane stops, so that it acknowledges nothing that is not kept; look at the disk, then start it again")
	case <-ctx.Done():
		return nil
	}
}
