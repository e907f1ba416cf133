package agent

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// sizes are the units in which people write memory.
var sizes = []struct {
	unit  string
	bytes uint64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

// leastMemory is what an Envoy needs to start and serve a small mesh.
const leastMemory = 64 << 20

// bytesOf reads a size, such as 512MiB; "0" and "" are no limit.
func bytesOf(text string) (uint64, error) {
	if text == "" || text == "0" {
		return 0, nil
	}
	for _, s := range sizes {
		number, ok := strings.CutSuffix(text, s.unit)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 64)
		switch {
		case err != nil || n > math.MaxInt64/s.bytes:
			return 0, fmt.Errorf("%q is no size, such as 512MiB", text)
		case n*s.bytes < leastMemory:
			return 0, fmt.Errorf("%s is too little for Envoy, which needs 64MiB", text)
		}
		return n * s.bytes, nil
	}
	return 0, fmt.Errorf("%q is no size, such as 512MiB or 2GiB", text)
}

// memoryLimit is the most memory of Envoy, in bytes; 0: none.
func (c *Config) memoryLimit() uint64 {
	n, err := bytesOf(c.EnvoyMemory)
	if err != nil {
		return 0 // told by Validate
	}
	return n
}
