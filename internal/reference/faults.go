package reference

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

var typeLine = regexp.MustCompile(`(?m)^type: (\w+)$`)

// readFaults reads what is refused of each kind, from the documents that are
// tested to be. Faults of one text are told once, at the first of a list.
func readFaults(dir string) (map[string][]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, err
	}
	all := map[string][]string{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for doc := range strings.SplitSeq(string(data), "---\n") {
			m := typeLine.FindStringSubmatch(doc)
			if m == nil {
				continue
			}
			for l := range strings.Lines(doc) {
				fault, ok := strings.CutPrefix(strings.TrimSpace(l), "# ")
				if !ok || fault == "nothing" || strings.Contains(fault, "unknown field") {
					continue
				}
				if fault = anyItem.ReplaceAllString(fault, "[]"); !slices.Contains(all[m[1]], fault) {
					all[m[1]] = append(all[m[1]], fault)
				}
			}
		}
	}
	return all, nil
}

var anyItem = regexp.MustCompile(`\[\d+\]`)
