package agent

import (
	"context"
	"os"
	"runtime/debug"
	"time"
)

// gcPercent is how much garbage the agent lets lie, beside what lives. What
// lives is a few MB, so that collecting it often costs a few ms a minute.
const gcPercent = 40

// restAfter is how long after it is ready the agent gives back what only its
// start took, and restEvery how often it does so later, for what a large
// change or an administrator's questions took.
const (
	restAfter = 5 * time.Second
	restEvery = 10 * time.Minute
)

// staySmall has memory be collected sooner than Go does by itself. GOGC goes
// before it.
func staySmall() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	stayBelow()
}

// rest gives memory back to the host: of the heap what is free, and of the
// program what has been read into memory and is not needed at rest.
func (a *Agent) rest(ctx context.Context) error {
	select {
	case <-a.readied:
	case <-ctx.Done():
	}
	for wait := restAfter; ; wait = restEvery {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
		debug.FreeOSMemory()
		if err := leaveProgram(); err != nil {
			a.log.Debug("memory of the program was not given back", "error", err)
		}
	}
}
