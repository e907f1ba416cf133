//go:build !linux

package nftables

import (
	"context"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// A Tracer follows packets, on Linux.
type Tracer struct{}

// Trace reports that following packets needs Linux.
func (Tracer) Trace(context.Context, []redirect.Follow) (redirect.Trace, error) {
	return nil, elsewhere()
}
