package relay

import (
	"context"
	"time"
)

const (
	// saveAfter is how long changes gather before they are written; where
	// writing takes long, saveShare times as long as the last took.
	saveAfter = time.Second
	saveShare = 50
	// settleTries bounds for how many tenths of saveAfter more a set is
	// awaited that owes Envoy nothing.
	settleTries = 20
	// saveRetry is after how many saveAfter a write that failed is tried again.
	saveRetry = 30
	// proof is how long an Envoy must serve with a set to have lived with it.
	proof = 10 * time.Second
)

// A disk is what the relay began with, where that came from the cache.
type disk struct {
	seq   uint64 // 0: nothing did
	saved time.Time
	since time.Time // served from it
	// lived: it needs no further trial.
	lived bool
	trial *time.Timer
	// parted is since when the Envoy was there that the relay left when it
	// ended, for no fault of the set; zero: none was.
	parted time.Time
}

// openCache has the table begin with what is on disk. Without a disk the relay
// works as it does with one, until it is needed.
func (r *Relay) openCache() {
	if r.cfg.CacheDir == "" {
		return
	}
	c, err := openCache(r.cfg.CacheDir, r.cfg.ID.String(), r.log)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.cacheFault = err.Error()
		r.log.Warn("configuration is not kept on disk: this host would not come back without a control plane", "error", err)
		return
	}
	r.cache = c
	if l := c.load(); l != nil {
		r.begin(l)
	}
}

// begin makes a set from disk all that there is. What was claimed of another to
// the control plane is taken back with the stream. It is called with the lock.
func (r *Relay) begin(l *loaded) {
	if r.redial != nil {
		r.redial()
	}
	if l.set == nil {
		r.table, r.disk = newTable(), disk{}
		r.takeList(nil)
		r.log.Error("no configuration is left on disk: Envoy waits for the control plane")
		return
	}
	r.table = resume(l.set)
	r.disk = disk{seq: l.seq, saved: l.saved, since: time.Now()}
	if len(l.set[names].resources) > 0 {
		list, _ := readNames(l.set[names].resources[0].Resource) // it was read before
		r.takeList(list)
	} else {
		r.takeList(nil)
	}
	r.takeProbes()
	r.log.Info("configuration read from disk", "set", l.seq, "saved", l.saved, "holds", l.set)
}

// fromDisk says that Envoy is served what was read from disk. It is called with
// the lock.
func (r *Relay) fromDisk() bool { return r.disk.seq != 0 && !r.table.spoken() }

// letIn begins a session of Envoy's. A set from disk that is not known to be
// one that an Envoy lives with is on trial from here on; one that was tried too
// often gives way to the one before it, or to nothing.
func (r *Relay) letIn(who string) *session {
	r.admit.Lock()
	defer r.admit.Unlock()
	r.mu.Lock()
	seq, trial := r.disk.seq, r.fromDisk() && !r.disk.lived
	r.mu.Unlock()
	if !trial {
		return r.attach(nil)
	}
	var next *loaded
	for !r.cache.try(seq, who) {
		if next = r.cache.load(); next == nil {
			next = &loaded{}
			break
		}
		seq = next.seq
	}
	s := r.attach(next)
	r.watch(s)
	return s
}

// watch ends the trial when s has served for as long as proves it.
func (r *Relay) watch(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.disk.trial != nil {
		r.disk.trial.Stop()
	}
	r.disk.trial = time.AfterFunc(r.cfg.proof, func() {
		r.mu.Lock()
		serves, again := r.table.synced(), r.session == s && r.fromDisk()
		r.disk.lived = r.disk.lived || again && serves
		r.mu.Unlock()
		if again && !serves {
			r.watch(s)
		}
		r.changed()
	})
}

// part notes whom the relay leaves when it ends.
func (r *Relay) part() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.session != nil {
		r.disk.parted = r.down.since
	}
}

// changed has the keeper look. It never blocks.
func (r *Relay) changed() {
	select {
	case r.dirty <- struct{}{}:
	default:
	}
}

// keep writes what Envoy accepted until ctx ends; Run does so once more then.
func (r *Relay) keep(ctx context.Context) {
	var retry <-chan time.Time
	for {
		select {
		case <-r.dirty:
		case <-retry:
		case <-ctx.Done():
			return
		}
		wait := r.cfg.saveAfter
		for range settleTries {
			if !r.pause(ctx, wait) {
				return
			}
			if r.isSettled() {
				break
			}
			wait = r.cfg.saveAfter / 10
		}
		began := time.Now()
		retry = nil
		if !r.keepNow() {
			retry = time.After(saveRetry * r.cfg.saveAfter)
		}
		r.pause(ctx, saveShare*time.Since(began)-r.cfg.saveAfter)
	}
}

// pause waits, and says no when ctx ends.
func (r *Relay) pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(max(d, 0)):
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

func (r *Relay) isSettled() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.table.settled()
}

// keepNow writes what is to be written. Nothing is before Envoy has had the
// whole of its configuration: a part is worth less than what is there. It says
// no when the disk did.
func (r *Relay) keepNow() bool {
	if r.cache == nil {
		return true
	}
	r.mu.Lock()
	seq, lived, over := r.disk.seq, r.disk.lived, !r.disk.parted.IsZero() || r.table.spoken()
	whole := r.isSync && len(r.table[listeners].accepted) > 0
	var set kept
	envoy := r.disk.parted
	if whole {
		set = r.table.snapshot()
	}
	if r.session != nil {
		envoy = r.down.since
	}
	r.mu.Unlock()
	if seq != 0 && (lived || over) {
		r.cache.lived(seq, lived)
	}
	return !whole || r.cache.save(&set, envoy, r.cfg.proof)
}

func (r *Relay) cacheStatus() (s CacheStatus) {
	if r.cfg.CacheDir == "" {
		return s
	}
	r.mu.Lock()
	cache := r.cache
	if r.fromDisk() {
		s.ServingSince, s.Saved = r.disk.since, r.disk.saved
	}
	s.Fault = r.cacheFault
	r.mu.Unlock()
	if cache != nil {
		kept := cache.status()
		s.PassedOver = kept.PassedOver
		s.Fault = kept.Fault
	}
	return s
}
