package redirect

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// How a Keeper looks.
const (
	// settle is how long it lets changes come in before it looks: whoever
	// changes the network seldom does it in one transaction.
	settle = 50 * time.Millisecond
	// Without a sign it looks all the same: some things, such as sysctls, are
	// never told of, and engines that tell of nothing are only looked at.
	lookNotified = time.Minute
	lookBlind    = 10 * time.Second
	// signTime is how long after a mend a sign may still be of what it mended.
	signTime = time.Second
	// holdOff keeps a mend that fails, and so changes nothing for good, from
	// being woken by its own writes again and again.
	holdOff = 500 * time.Millisecond
	// maxTold bounds the differences that a Mend remembers.
	maxTold = 20
)

// A Change is a sign that what Apply put in force may no longer be.
type Change struct {
	// By is who made it, such as "nft (pid 4711)"; "" when that is not known,
	// or when this process did.
	By string
	// Urgent: until it is put back nothing is redirected, or not what should
	// be, and whoever did it is done. There is nothing to wait for.
	Urgent bool
	// Came: there are cgroups that the rules name and that had none until now. They
	// are in the rules, but somebody in them may have called already.
	Came bool
}

// A Watcher is a Redirector that hears of changes to the host's network.
type Watcher interface {
	// Watch signs from now on, until ctx ends, changes to what concerns the
	// rules, this process's own among them. An engine that can lets cgroups that
	// come to be into the rules in force by itself, sooner than who hears of them
	// could: their first process may be calling already. What happens in quick succession
	// may be one sign, and where signs were lost there is one too. The channel
	// is closed when ctx ends or when no more can be heard.
	Watch(ctx context.Context, r Rules) (<-chan Change, error)
}

// A Recaller is a Redirector by which calls that began without the rules can be
// told from others.
type Recaller interface {
	// Recall has calls of this host that began when no rule was about them, and
	// that nobody has answered since, meet the rules in force. Apply does so by
	// itself.
	Recall(ctx context.Context, r Rules) error
}

// A Keeper keeps rules in force: what others take away or change is put back
// within a second, seldom enough not to be one side of a fight. Its exported
// fields are set before Run.
type Keeper struct {
	Engine Redirector
	Rules  Rules
	// Wanted is asked before each look for the rules that are wanted now, and
	// after each mend whether they still are; false leaves the host as it is,
	// and so does an error. nil always wants Rules. The table is that of Rules.
	Wanted func() (Rules, bool, error)
	Log    *slog.Logger

	pace pace

	mu   sync.Mutex
	kept Kept
}

// Kept tells what a Keeper saw and did.
type Kept struct {
	Notified bool      `json:"notified"`        // the kernel signs changes
	Looked   time.Time `json:"looked,omitzero"` // last
	Mends    int       `json:"mends"`           // since Run began
	Last     Mend      `json:"last,omitzero"`   // of them
	// PausedUntil is when the next mend is due while somebody undoes each;
	// zero while there is nothing to mend.
	PausedUntil time.Time `json:"pausedUntil,omitzero"`
	// Fault is why the last look or mend failed.
	Fault string `json:"fault,omitempty"`
}

// A Mend is one Apply that put something back.
type Mend struct {
	At     time.Time    `json:"at"`
	TookMS int64        `json:"tookMs"` // look and Apply, in milliseconds
	By     string       `json:"by,omitempty"`
	What   []Difference `json:"what"` // at most the first twenty
}

// Kept tells how it goes. It may be called at any time.
func (k *Keeper) Kept() Kept {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.kept
}

func (k *Keeper) note(f func(*Kept)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f(&k.kept)
}

// Run keeps the rules in force until ctx ends, then returns nil. It leaves
// them in force. Everything is done on the calling goroutine's thread, and so
// in its network namespace.
func (k *Keeper) Run(ctx context.Context) error {
	var (
		changes <-chan Change
		by      string             // the first who is known since the last look
		came    bool               // cgroups, since then
		next    time.Time          // of looks
		hold    time.Time          // no sooner than this
		timer   = time.NewTimer(0) // look at once
	)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case c, ok := <-changes:
			if !ok {
				changes = nil
				k.note(func(kept *Kept) { kept.Notified = false })
			}
			by, came = cmp.Or(by, c.By), came || c.Came
			k.attribute(c.By)
			wait := settle
			if c.Urgent {
				wait = 0
			}
			soon := later(time.Now().Add(wait), hold)
			if soon.Before(next) {
				next = soon
				timer.Reset(time.Until(next))
			}
			continue
		case <-timer.C:
		}
		if changes == nil {
			changes = k.watch(ctx) // before the look, so that nothing falls in between
		}
		seen := k.look(ctx, by, came)
		k.note(func(kept *Kept) { kept.Looked = time.Now() })
		if !seen.paused {
			by, came = "", false
		}
		hold = seen.hold
		next = time.Now().Add(lookBlind)
		switch {
		case seen.paused:
			next = hold
		case changes != nil && hold.IsZero():
			next = time.Now().Add(lookNotified)
		}
		timer.Reset(time.Until(next))
	}
}

// attribute says of the last mend who made it necessary, where the look that
// led to it was faster than the sign.
func (k *Keeper) attribute(by string) {
	k.note(func(kept *Kept) {
		ended := kept.Last.At.Add(time.Duration(kept.Last.TookMS) * time.Millisecond)
		if kept.Last.By == "" && time.Since(ended) < signTime {
			kept.Last.By = by
		}
	})
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func (k *Keeper) watch(ctx context.Context) <-chan Change {
	w, ok := k.Engine.(Watcher)
	if !ok {
		return nil
	}
	changes, err := w.Watch(ctx, k.Rules)
	if err != nil {
		k.fault(ctx, "changes to the network are not heard of", err)
		return nil
	}
	k.note(func(kept *Kept) { kept.Notified = true })
	return changes
}

// seen is what a look came to.
type seen struct {
	hold   time.Time // zero: look again as soon as something changes
	paused bool      // hold is when the next mend is due
}

func (k *Keeper) wanted() (Rules, bool, error) {
	if k.Wanted == nil {
		return k.Rules, true, nil
	}
	return k.Wanted()
}

func (k *Keeper) look(ctx context.Context, by string, came bool) seen {
	rules, on, err := k.wanted()
	if err != nil {
		k.fault(ctx, "redirection was not looked at", err)
		return seen{hold: time.Now().Add(holdOff)}
	}
	if !on {
		k.note(func(kept *Kept) { kept.Fault, kept.PausedUntil = "", time.Time{} })
		return seen{}
	}
	began := time.Now()
	differences, err := k.Engine.Check(ctx, rules)
	if err != nil {
		k.fault(ctx, "redirection was not looked at", err)
		return seen{hold: time.Now().Add(holdOff)}
	}
	if r, ok := k.Engine.(Recaller); ok && came && len(differences) == 0 {
		if err := r.Recall(ctx, rules); err != nil {
			k.fault(ctx, "calls that had begun were not redirected", err)
			return seen{hold: time.Now().Add(holdOff)}
		}
	}
	if len(differences) == 0 {
		k.note(func(kept *Kept) { kept.Fault, kept.PausedUntil = "", time.Time{} })
		return seen{}
	}
	if due := k.pace.next(began); due.After(began) {
		if k.Kept().PausedUntil != due {
			k.Log.Warn("redirection is undone again and again, mending is paused", "until", due, "by", by, "differences", texts(differences))
		}
		k.note(func(kept *Kept) { kept.PausedUntil = due })
		return seen{hold: due, paused: true}
	}
	on, err = k.put(ctx, rules)
	if err != nil {
		k.fault(ctx, "redirection was not mended", err)
		return seen{hold: time.Now().Add(holdOff)}
	}
	if !on {
		return seen{}
	}
	k.mended(Mend{At: began, TookMS: time.Since(began).Milliseconds(), By: by, What: differences[:min(len(differences), maxTold)]}, len(differences))
	return seen{}
}

// Apply puts the wanted rules in force, before Run, and reports whether any
// are wanted.
func (k *Keeper) Apply(ctx context.Context) (on bool, err error) {
	rules, on, err := k.wanted()
	if err != nil || !on {
		return false, err
	}
	return k.put(ctx, rules)
}

// put takes the rules off again when somebody said so meanwhile: his Remove
// may have come before our Apply. That nobody can be asked is no such word.
func (k *Keeper) put(ctx context.Context, rules Rules) (on bool, err error) {
	if err := k.Engine.Apply(ctx, rules); err != nil {
		return false, err
	}
	if _, on, err := k.wanted(); err == nil && !on {
		return false, k.Engine.Remove(ctx, rules.Table)
	}
	return true, nil
}

func (k *Keeper) mended(m Mend, differences int) {
	k.pace.mended(m.At)
	k.note(func(kept *Kept) {
		kept.Mends++
		kept.Last, kept.PausedUntil, kept.Fault = m, time.Time{}, ""
	})
	k.Log.Warn("redirection was mended", "by", cmp.Or(m.By, "unknown"), "took_ms", m.TookMS, "differences", differences, "what", texts(m.What))
}

// fault is logged when it is another than before.
func (k *Keeper) fault(ctx context.Context, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	if text := fmt.Sprintf("%s: %v", what, err); text != k.Kept().Fault {
		k.Log.Error(what, "error", err)
		k.note(func(kept *Kept) { kept.Fault = text })
	}
}

func texts(differences []Difference) string {
	var all []string
	for _, d := range differences[:min(len(differences), maxTold)] {
		all = append(all, d.What+" is "+d.Is)
	}
	return strings.Join(all, "; ")
}
