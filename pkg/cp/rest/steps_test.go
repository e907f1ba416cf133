package rest

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// A step is one request of a recorded conversation.
type step struct {
	method, path, send string
	status             int
	want               string
}

func readSteps(t *testing.T, file string) []step {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var steps []step
	answering := false
	for line := range strings.Lines(string(data)) {
		switch {
		case strings.HasPrefix(line, "> "):
			method, path, ok := strings.Cut(strings.TrimSpace(line[2:]), " ")
			if !ok {
				t.Fatalf("%s: %q is no request", file, line)
			}
			steps, answering = append(steps, step{method: method, path: path}), false
		case strings.HasPrefix(line, "< "):
			last := &steps[len(steps)-1]
			if last.status, err = strconv.Atoi(strings.TrimSpace(line[2:])); err != nil {
				t.Fatal(err)
			}
			answering = true
		case len(steps) > 0 && answering:
			steps[len(steps)-1].want += line
		case len(steps) > 0:
			steps[len(steps)-1].send += line
		}
	}
	if len(steps) < 10 {
		t.Fatalf("%s has %d requests only", file, len(steps))
	}
	return steps
}
