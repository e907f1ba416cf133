//go:build failpoints

package failpoint

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrInjected is what At returns where it was told to.
var ErrInjected = errors.New("injected fault")

// An action is what happens at a place: from its nth visit on, or, of a kill,
// at it.
type action struct {
	what  string
	wait  time.Duration
	after int
	seen  int
}

var (
	mu      sync.Mutex
	actions = fromEnvironment()
)

func fromEnvironment() map[string]*action {
	a, err := Parse(os.Getenv("WEFT_FAILPOINTS"))
	if err != nil {
		panic(err) // a test that asks for what there is not must not pass
	}
	return a
}

// Parse reads "place=action,place=action": kill (SIGKILL to oneself), stop
// (SIGSTOP), panic, error, or a duration to sleep; "@n" behind it counts n-1
// visits before it acts.
func Parse(text string) (map[string]*action, error) {
	all := map[string]*action{}
	for part := range strings.SplitSeq(text, ",") {
		if part == "" {
			continue
		}
		name, what, _ := strings.Cut(part, "=")
		what, after, counted := strings.Cut(what, "@")
		a := &action{what: what, after: 1}
		var err error
		if counted {
			a.after, err = strconv.Atoi(after)
		}
		if err == nil && !slices.Contains([]string{"kill", "stop", "panic", "error"}, what) {
			a.wait, err = time.ParseDuration(what)
		}
		if err != nil || !slices.Contains(Points, name) {
			return nil, fmt.Errorf("WEFT_FAILPOINTS: %q is none (places: %s): %w", part, strings.Join(Points, ", "), err)
		}
		all[name] = a
	}
	return all, nil
}

// At does what the environment says of this place.
func At(name string) error {
	mu.Lock()
	a := actions[name]
	act := false
	if a != nil {
		a.seen++
		act = a.seen >= a.after
	}
	mu.Unlock()
	switch {
	case !act:
	case a.what == "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until it arrives
	case a.what == "stop":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	case a.what == "panic":
		panic(fmt.Sprintf("%v at %s", ErrInjected, name))
	case a.what == "error":
		return fmt.Errorf("%w at %s", ErrInjected, name)
	default:
		time.Sleep(a.wait) //nolint:forbidigo // that is what was asked for
	}
	return nil
}
