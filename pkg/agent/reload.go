package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/pkg/settings"
	units "github.com/weft-mesh/weft/pkg/systemd"
)

// A Source is where a running agent hears of another configuration.
type Source struct {
	// File is watched; "" is nowhere.
	File string
	// Signals are further occasions to read it.
	Signals <-chan os.Signal
	// Read returns the configuration of now, or everything that is wrong with it.
	Read func() (Config, error)
	// Level is told what the log is to say.
	Level func(level string) error
}

// settle is how long a file must have been left alone before it is read:
// editors write in steps.
const settle = 200 * time.Millisecond

// An effect is what a setting that changes while the agent runs has to move.
type effect int

const (
	atRestart    effect = iota // nothing can
	moves                      // dataplane and rules
	movesEnvoy                 // Envoy, which is replaced where it cannot go on
	movesLog                   // the agent's log
	movesNothing               // it is read when it is needed
)

// effects are the settings that can change at run time.
var effects = map[string]effect{
	"port": moves, "protocol": moves, "tag": moves, "outbound": moves, "address": moves, "service-address": moves, "metrics-port": moves, "scrape": moves,
	"probe-port": moves, "probes": moves, "only": moves, "inbound": moves, "inbound-method": moves, "exclude-outbound": moves,
	"exclude-inbound": moves, "forwarded": moves, "resolvers": moves, "capture-ssh": moves, "share-marks": movesNothing,
	"envoy": movesEnvoy, "envoy-concurrency": movesEnvoy, "envoy-log-level": movesEnvoy, "envoy-memory": movesEnvoy, "envoy-files": movesEnvoy, "envoy-user": movesEnvoy,
	"drain-time": movesEnvoy, "change-time": movesEnvoy,
	"log-level": movesLog, "workload": movesNothing,
}

// changeStatus tells of the configuration while the agent runs.
type changeStatus struct {
	Since   time.Time `json:"since"`             // in force
	Refused string    `json:"refused,omitempty"` // why a later one is not
	At      time.Time `json:"at,omitzero"`       // when that was
	// Waiting are settings that changed and wait for the agent's next start.
	Waiting []string `json:"waiting,omitempty"`
}

// follow takes in other configurations until ctx ends. Workloads that come are
// run in g.
func (a *Agent) follow(ctx context.Context, g *errgroup.Group) error {
	if a.Source.Read == nil {
		return nil
	}
	changed := make(chan struct{}, 1)
	if a.Source.File != "" {
		stop, err := watchFile(a.Source.File, changed)
		if err != nil {
			a.log.Warn("changes of the configuration are not seen, SIGHUP has it read", "file", a.Source.File, "error", err)
		} else {
			defer stop()
		}
	}
	for {
		select {
		case <-changed:
			select { // until its writer is done
			case <-time.After(settle):
			case <-ctx.Done():
				return nil
			}
			units.Reload(a.log, func() { a.reload(ctx, g, "the file has changed") })
		case s := <-a.Source.Signals:
			units.Reload(a.log, func() { a.reload(ctx, g, s.String()) })
		case <-ctx.Done():
			return nil
		}
	}
}

// watchFile pokes changed when the file at that path is another one. The folder
// is watched, since files are replaced by new ones.
func watchFile(path string, changed chan<- struct{}) (stop func(), err error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	if err := w.Add(filepath.Dir(path)); err != nil {
		_ = w.Close()
		return nil, err
	}
	go func() {
		for e := range w.Events {
			if filepath.Base(e.Name) != filepath.Base(path) || e.Op == fsnotify.Chmod {
				continue
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}()
	go func() {
		for range w.Errors { // that some were lost is seen by the next
		}
	}()
	return func() { _ = w.Close() }, nil
}

// reload takes in the configuration of now, or leaves the one in force whole.
func (a *Agent) reload(ctx context.Context, g *errgroup.Group, why string) {
	next, err := a.Source.Read()
	if err == nil {
		err = a.apply(ctx, g, next)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.change.Refused, a.change.At = err.Error(), time.Now()
		a.log.Error("configuration was refused, the one before stays in force", "why_read", why, "error", err)
		return
	}
	a.change.Refused, a.change.At = "", time.Time{}
	a.change.Since = time.Now()
	a.log.Info("configuration was read", "why_read", why, "waiting_for_restart", a.change.Waiting)
}

// A transition is what another configuration asks of an agent.
type transition struct {
	goes, comes []*served
	changes     []func(context.Context)
	waiting     []string // keys
}

// apply puts next in force: workloads that are gone are stopped, new ones
// started, the others changed. What could fail comes before anything is done.
func (a *Agent) apply(ctx context.Context, g *errgroup.Group, next Config) error {
	t, err := a.transition(ctx, next)
	if err == nil && a.Source.Level != nil {
		err = a.Source.Level(next.LogLevel)
	}
	if err != nil {
		for _, s := range t.comes {
			s.release()
		}
		return err
	}
	a.mu.Lock()
	a.served = slices.DeleteFunc(a.served, func(s *served) bool { return slices.Contains(t.goes, s) })
	a.served = append(a.served, t.comes...)
	a.change.Waiting = t.waiting
	a.mu.Unlock()
	for _, s := range t.goes {
		s.stop(ErrDrain)
		<-s.done
		s.release()
		a.log.Info("workload stopped", "workload", s.cfg.Workload, "dataplane", s.cfg.Name)
	}
	a.retain()
	for _, change := range t.changes {
		change(ctx)
	}
	for _, s := range t.comes {
		a.start(ctx, g, s)
		g.Go(func() error {
			<-s.done
			s.release()
			return nil
		})
	}
	return nil
}

// transition prepares what comes and changes. Where it fails, what has been
// prepared of it is to be released.
func (a *Agent) transition(ctx context.Context, next Config) (t transition, err error) {
	t.goes = a.all()
	t.waiting = waits(a.cfg.flags, next.flags, hostSettings)
	for _, c := range next.Workloads() {
		i := slices.IndexFunc(t.goes, func(s *served) bool { return s.cfg.Workload == c.Workload && s.cfg.listed == c.listed })
		if i < 0 {
			s, err := a.serve(c)
			if err != nil {
				return t, err
			}
			t.comes = append(t.comes, s)
			if err := s.prepare(ctx); err != nil {
				return t, err
			}
			continue
		}
		s := t.goes[i]
		t.goes = slices.Delete(t.goes, i, i+1)
		w := s.present()
		for _, key := range waits(w.cfg.flags, c.flags, nil) {
			if c.listed {
				key = fmt.Sprintf("%s[%s].%s", workloadsKey, c.Workload, key)
			}
			t.waiting = append(t.waiting, key)
		}
		if w.moved(c, moves) || w.moved(c, movesEnvoy) {
			change, err := w.change(ctx, c)
			if err != nil {
				return t, c.at(err)
			}
			t.changes = append(t.changes, change)
		}
		t.changes = append(t.changes, func(context.Context) { s.set(c) })
	}
	slices.Sort(t.waiting)
	return t, nil
}

// waits are the settings in which two configurations differ and which cannot
// change at run time; of those, or of all.
func waits(before, after *pflag.FlagSet, of []string) (keys []string) {
	after.VisitAll(func(f *pflag.Flag) {
		old := before.Lookup(f.Name)
		if of != nil && !slices.Contains(of, f.Name) || of == nil && slices.Contains(hostSettings, f.Name) {
			return
		}
		if old != nil && old.Value.String() != f.Value.String() && effects[f.Name] == atRestart {
			keys = append(keys, settings.Key(f.Name))
		}
	})
	return keys
}

func (s *served) set(c Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg = c
}

// configurationCheck tells of changes that are not in force.
func configurationCheck(c changeStatus, now time.Time) Check {
	check := Check{Name: "configuration", OK: c.Refused == "", Text: "as of " + ago(now, c.Since) + " ago"}
	if c.Refused != "" {
		check.Text = fmt.Sprintf("that of %s ago was refused, the one before is in force: %s", ago(now, c.At), strings.ReplaceAll(c.Refused, "\n", "; "))
		check.Remedy = "mend it: weft-agent config --check tells all faults; it is read again as soon as it is written"
	}
	if len(c.Waiting) > 0 {
		check.Text += "; changed, but in force from the next start on: " + strings.Join(c.Waiting, ", ") + " (" + restartIt + ")"
	}
	return check
}
