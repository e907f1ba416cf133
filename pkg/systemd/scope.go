package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
)

// Running tells whether systemd runs this host.
func Running() bool {
	info, err := os.Lstat("/run/systemd/system")
	return err == nil && info.IsDir()
}

// A Scope is a unit of systemd's whose processes others start.
type Scope struct {
	Name        string // ends in .scope
	Description string
	Slice       string
	// Before are units that are stopped before this one when the host is.
	Before []string
	// MemoryMax is the most memory of its processes, in bytes; 0: no limit.
	MemoryMax uint64
	// StopTime is how long its processes may take to end.
	StopTime time.Duration
}

// Take moves a process into the scope, which is made where it is not there. It
// is not of the unit that started it any more, and does not end with that.
func (s Scope) Take(ctx context.Context, pid int) error {
	bus, err := dbus.NewSystemConnectionContext(ctx)
	if err != nil {
		return fmt.Errorf("speak with systemd: %w", err)
	}
	defer bus.Close()
	state, err := bus.GetUnitPropertyContext(ctx, s.Name, "ActiveState")
	if err != nil {
		return fmt.Errorf("ask systemd for %s: %w", s.Name, err)
	}
	switch state.Value.Value() {
	case "active":
		if err := bus.AttachProcessesToUnit(ctx, s.Name, "", []uint32{uint32(pid)}); err != nil {
			return fmt.Errorf("move process %d to %s: %w", pid, s.Name, err)
		}
		if s.MemoryMax > 0 {
			limit := dbus.Property{Name: "MemoryMax", Value: godbus.MakeVariant(s.MemoryMax)}
			if err := bus.SetUnitPropertiesContext(ctx, s.Name, true, limit); err != nil {
				return fmt.Errorf("limit the memory of %s: %w", s.Name, err)
			}
		}
		return nil
	case "failed":
		if err := bus.ResetFailedUnitContext(ctx, s.Name); err != nil {
			return fmt.Errorf("forget the failure of %s: %w", s.Name, err)
		}
	}
	done := make(chan string, 1)
	if _, err := bus.StartTransientUnitContext(ctx, s.Name, "replace", s.properties(pid), done); err != nil {
		return fmt.Errorf("make %s for process %d: %w", s.Name, pid, err)
	}
	select {
	case result := <-done:
		if result != "done" {
			return fmt.Errorf("make %s for process %d: %s", s.Name, pid, result)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("make %s for process %d: %w", s.Name, pid, ctx.Err())
	}
}

func (s Scope) properties(pid int) []dbus.Property {
	all := []dbus.Property{
		dbus.PropDescription(s.Description),
		dbus.PropPids(uint32(pid)),
	}
	if s.Slice != "" {
		all = append(all, dbus.PropSlice(s.Slice))
	}
	if len(s.Before) > 0 {
		all = append(all, dbus.PropBefore(s.Before...))
	}
	if s.MemoryMax > 0 {
		all = append(all, dbus.Property{Name: "MemoryMax", Value: godbus.MakeVariant(s.MemoryMax)})
	}
	if s.StopTime > 0 {
		all = append(all, dbus.Property{Name: "TimeoutStopUSec", Value: godbus.MakeVariant(uint64(s.StopTime.Microseconds()))})
	}
	return all
}

// Stopping tells whether systemd is about to stop the host.
func Stopping(ctx context.Context) (bool, error) {
	if !Running() {
		return false, nil
	}
	bus, err := dbus.NewSystemConnectionContext(ctx)
	if err != nil {
		return false, fmt.Errorf("speak with systemd: %w", err)
	}
	defer bus.Close()
	state, err := bus.SystemStateContext(ctx)
	if err != nil {
		return false, fmt.Errorf("ask systemd how the host is: %w", err)
	}
	text, ok := state.Value.Value().(string)
	if !ok {
		return false, errors.New("ask systemd how the host is: its answer is no text")
	}
	return text == "stopping", nil
}
