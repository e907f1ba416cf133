package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/coreos/go-systemd/v22/dbus"
)

// ErrNoUnit: no systemd runs here, or it has no such unit that is enabled.
var ErrNoUnit = errors.New("systemd has no such unit")

// StartEnabled starts a unit that this host's owner has enabled, and waits until
// it is up or has failed. It is ErrNoUnit where there is none.
func StartEnabled(ctx context.Context, unit string) error {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return ErrNoUnit
	}
	bus, err := dbus.NewSystemConnectionContext(ctx)
	if err != nil {
		return fmt.Errorf("speak with systemd: %w", err)
	}
	defer bus.Close()
	state, err := bus.GetUnitPropertyContext(ctx, unit, "UnitFileState")
	if err != nil {
		return fmt.Errorf("ask systemd for %s: %w", unit, err)
	}
	if s, _ := state.Value.Value().(string); s != "enabled" && s != "enabled-runtime" {
		return ErrNoUnit
	}
	done := make(chan string, 1)
	if _, err := bus.StartUnitContext(ctx, unit, "replace", done); err != nil {
		return fmt.Errorf("start %s: %w", unit, err)
	}
	select {
	case result := <-done:
		if result != "done" {
			return fmt.Errorf("start %s: %s; journalctl -u %[1]s tells why", unit, result)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("start %s: %w", unit, ctx.Err())
	}
}
