// Package systemd tells systemd how a service is, and asks it for units. Where
// no systemd started the program, it does nothing.
package systemd

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// A Service is a program as its unit sees it, with Type=notify.
type Service struct {
	// Ready is closed when the service can be used.
	Ready <-chan struct{}
	// Alive is asked before each sign of life where the unit has WatchdogSec;
	// an error keeps the sign back, and systemd restarts the service when none
	// comes in time. It must answer within half of that time. nil: always well.
	Alive func(context.Context) error
	Log   *slog.Logger
}

// Run tells how the service is until ctx ends, and then that it stops. It
// fails only where the unit's own settings make no sense.
func (s Service) Run(ctx context.Context) error {
	select {
	case <-s.Ready:
	case <-ctx.Done():
		return nil
	}
	within, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("read what systemd says of its watchdog: %w", err)
	}
	s.say(daemon.SdNotifyReady)
	defer s.say(daemon.SdNotifyStopping)
	if within == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(within / 3)
	defer tick.Stop()
	for {
		if err := s.alive(ctx, within/2); err != nil {
			s.Log.Error("service is not well, systemd's watchdog gets no sign", "error", err)
		} else {
			s.say(daemon.SdNotifyWatchdog)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (s Service) alive(ctx context.Context, within time.Duration) error {
	if s.Alive == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return s.Alive(ctx)
}

func (s Service) say(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.Log.Warn("systemd was not told", "state", state, "error", err)
	}
}

// Reload tells systemd that a service reads its configuration again while f
// does so.
func Reload(log *slog.Logger, f func()) {
	s := Service{Log: log}
	s.say(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
	f()
	s.say(daemon.SdNotifyReady)
}
