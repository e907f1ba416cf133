package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
)

// Make makes the folders of those paths that are not there, and asks for no tree
// where there are no paths.
func Make(paths []string) error {
	if len(paths) == 0 {
		return nil
	}
	root, err := Root()
	if err != nil {
		return err
	}
	for _, p := range paths {
		if err := os.MkdirAll(filepath.Join(root, p), 0o755); err != nil {
			return fmt.Errorf("make cgroup %s: %w", p, err)
		}
	}
	return nil
}
