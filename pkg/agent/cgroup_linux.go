package agent

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/weft-mesh/weft/pkg/redirect/cgroup"
)

// ownCgroup is the folder of the cgroup v2 tree that this agent is in; "" where
// there is no such tree.
func ownCgroup() string {
	root, err := cgroup.Root()
	if err != nil {
		return ""
	}
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return filepath.Join(root, path)
		}
	}
	return ""
}
