package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/weft-mesh/weft/pkg/keyfile"
	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/cgroup"
)

// lastRules are the rules that were last in force, with all that it takes to put
// them there again before anybody can be asked for names of users and units.
type lastRules struct {
	Engine string         `json:"engine"`
	Cgroup string         `json:"cgroup,omitempty"` // of the ebpf engine
	Rules  redirect.Rules `json:"rules"`
}

const lastRulesName = "redirect.last"

func (c *Config) lastRulesFile() string { return filepath.Join(c.StateDir, lastRulesName) }

// remember keeps rules that are in force for the next boot. A trial is the
// switch's to tell. On a host that never joined there is nothing to keep.
func (c *Config) remember(choice Choice, rules redirect.Rules) error {
	if _, err := os.Stat(c.StateDir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	rules.ConfirmWithin = 0
	text, err := json.Marshal(lastRules{choice.Engine, c.RedirectCgroup, rules})
	if err == nil {
		err = keyfile.Write(c.lastRulesFile(), append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("keep the redirection for the next boot: %w", err)
	}
	return nil
}

// A Restored is a redirection that is in force as it was before.
type Restored struct {
	Table  string
	Engine string
}

// RestoreRedirections puts in force what last was, of every workload that keeps
// its files in stateDir or beneath it. What was taken off, or was on trial that
// is over, stays off. It reads no configuration and looks nobody up, so that it
// can run early in the boot; one workload's fault keeps no other's back.
func RestoreRedirections(ctx context.Context, stateDir string) ([]Restored, error) {
	var (
		all  []Restored
		errs []error
	)
	for _, dir := range stateDirs(stateDir) {
		cfg := Config{StateDir: dir}
		last, err := cfg.lastRules()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		on := false
		if err == nil {
			on, err = cfg.restore(ctx, last)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", cfg.lastRulesFile(), err))
		} else if on {
			all = append(all, Restored{last.Rules.Table, last.Engine})
		}
	}
	return all, errors.Join(errs...)
}

// ReleaseRedirections takes off every redirection of this host's workloads, and
// those of the given tables, until an agent starts or the host boots.
func ReleaseRedirections(ctx context.Context, stateDir string, tables ...string) error {
	var errs []error
	for _, dir := range stateDirs(stateDir) {
		cfg := Config{StateDir: dir}
		if last, err := cfg.lastRules(); err == nil {
			tables = append(tables, last.Rules.Table)
		} else if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("%s: %w", cfg.lastRulesFile(), err))
		}
	}
	slices.Sort(tables)
	for _, table := range slices.Compact(tables) {
		errs = append(errs, removeAll(ctx, table, ""))
	}
	return errors.Join(errs...)
}

// stateDirs are the folders in which workloads of a host keep their files.
func stateDirs(top string) []string {
	more, _ := filepath.Glob(filepath.Join(top, "workloads", "*")) // the pattern is well
	return append([]string{top}, more...)
}

func (c *Config) lastRules() (last lastRules, err error) {
	text, err := keyfile.Read(c.lastRulesFile())
	if err != nil {
		return last, err
	}
	if err := json.Unmarshal(text, &last); err != nil {
		return last, err
	}
	if !slices.Contains(engineNames()[1:], last.Engine) {
		return last, fmt.Errorf("there is no engine %q", last.Engine)
	}
	return last, last.Rules.Validate()
}

// restore reports whether the rules are wanted, and in force.
func (c *Config) restore(ctx context.Context, last lastRules) (bool, error) {
	s, err := c.Switch()
	if err != nil {
		return false, err
	}
	rules, on := s.under(last.Rules, time.Now())
	if !on {
		return false, nil
	}
	// The kernel knows cgroups by what they are, not by their names. One that is
	// there before its unit is the unit's when that starts.
	if err := cgroup.Make(rules.Outbound.Only.Cgroups); err != nil {
		return false, err
	}
	of := Config{RedirectEngine: last.Engine, RedirectCgroup: last.Cgroup}
	choice, err := of.Choose(ctx, rules)
	if err != nil {
		return false, err
	}
	return true, choice.redirector.Apply(ctx, rules)
}
