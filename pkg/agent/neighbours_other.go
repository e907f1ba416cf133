//go:build !linux

package agent

import "context"

// tellNeighbours has nothing to tell where nothing is redirected.
func (w *Workload) tellNeighbours(context.Context) error { return nil }

func neighbours(context.Context, string) ([]neighbour, error) { return nil, nil }
