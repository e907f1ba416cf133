//go:build !linux

// Package cgroup finds folders of the cgroup v2 tree, on Linux.
package cgroup

import (
	"fmt"
	"runtime"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// Root reports that cgroups need Linux.
func Root() (string, error) {
	return "", fmt.Errorf("find the cgroup v2 tree on %s: %w", runtime.GOOS, redirect.ErrNotSupported)
}
