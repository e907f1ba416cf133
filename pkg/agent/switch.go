package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/weft-mesh/weft/pkg/keyfile"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// A Switch is what the host's owner last said about the redirection, where
// that is not simply on. It outlives agent and host: what was taken off stays
// off.
type Switch struct {
	// Off is when the redirection was removed by command.
	Off time.Time `json:"off,omitzero"`
	// Trial is until when a redirection on trial is to be confirmed. After
	// that it is off.
	Trial time.Time `json:"trial,omitzero"`
}

// On reports whether redirection is on at that time, if only on trial.
func (s Switch) On(now time.Time) bool {
	return s.Off.IsZero() && (s.Trial.IsZero() || now.Before(s.Trial))
}

func (c *Config) switchFile() string { return filepath.Join(c.StateDir, "redirect.state") }

// Switch reads it. Without a file the redirection is on.
func (c *Config) Switch() (s Switch, err error) {
	text, err := keyfile.Read(c.switchFile())
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		return s, fmt.Errorf("read whether the redirection is on: %w; weft-agent redirect apply or remove writes it anew", err)
	}
	return s, nil
}

// turn replaces the switch in one step. On a host that never joined there is
// nobody to tell.
func (c *Config) turn(s Switch) error {
	if _, err := os.Stat(c.StateDir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if s == (Switch{}) {
		err := os.Remove(c.switchFile())
		if err == nil {
			return keyfile.Sync(c.StateDir)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return keyfile.Write(c.switchFile(), append(text, '\n'))
}

// Text says how the switch stands at that time.
func (s Switch) Text(now time.Time) string {
	at := func(t time.Time) string { return t.Local().Format(time.DateTime) }
	switch {
	case !s.Off.IsZero():
		return fmt.Sprintf("off since %s, by weft-agent redirect remove", at(s.Off))
	case !s.On(now):
		return fmt.Sprintf("off since %s, as nobody confirmed it in time", at(s.Trial))
	case !s.Trial.IsZero():
		return fmt.Sprintf("on trial until %s", at(s.Trial))
	}
	return "on"
}

// Remedy is what turns on what is off.
func (s Switch) Remedy() string {
	if s.Off.IsZero() {
		return "weft-agent redirect apply starts again"
	}
	return "weft-agent redirect apply turns it on"
}

// under returns the rules as the switch wants them at that time; false when it
// wants none.
func (s Switch) under(rules redirect.Rules, now time.Time) (redirect.Rules, bool) {
	if !s.On(now) {
		return rules, false
	}
	if !s.Trial.IsZero() {
		// What is mended is on trial for the rest of the time. Rules take no
		// less than a second, by which a mend in the last one prolongs it.
		rules.ConfirmWithin = max(s.Trial.Sub(now).Truncate(time.Millisecond), time.Second)
	}
	return rules, true
}
