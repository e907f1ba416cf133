//go:build !linux

package probe

import (
	"context"
	"fmt"
	"runtime"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// Run reports that probing needs Linux.
func (Prober) Run(context.Context) (Report, error) {
	return Report{}, fmt.Errorf("probe the redirection on %s: %w", runtime.GOOS, redirect.ErrNotSupported)
}

// Child reports that this process is no child of a probe.
func Child() (was bool, code int) { return false, 0 }
