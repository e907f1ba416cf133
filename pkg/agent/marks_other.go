//go:build !linux

package agent

import "github.com/weft-mesh/weft/pkg/redirect"

func marksInUse() ([]redirect.Difference, error) { return nil, nil }
