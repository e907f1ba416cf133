//go:build !linux

package agent

import (
	"fmt"
	"runtime"
)

func inMemory(string) (bool, error) {
	return false, fmt.Errorf("keyStore: memory needs a tmpfs, which %s does not have: use file", runtime.GOOS)
}
