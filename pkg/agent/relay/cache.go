package relay

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weft-mesh/weft/pkg/keyfile"
)

// maxAside bounds how many files that were moved aside are left lying.
const maxAside = 4

// A cache is a folder with the last sets that Envoy accepted: a file each, the
// newest and the one before it that Envoy is known to live with, and between
// them one on its way to that. Its methods may be called at the same time.
type cache struct {
	dir, node string
	log       *slog.Logger

	mu    sync.Mutex
	gens  []generation // oldest first
	last  uint64       // the highest number that was ever given
	trial trial
	fault string   // why the folder cannot be written; "": it can
	aside []string // what was passed over since the start, for people
}

// A generation is one file.
type generation struct {
	seq    uint64
	digest [sha256.Size]byte // of the file; zero: not known
	// The set was the newest from written until until; zero: it still is.
	written, until time.Time
	proven         bool // an Envoy lived with it
}

// A loaded is a set from the cache.
type loaded struct {
	set   *kept
	seq   uint64
	saved time.Time
}

// before is when a set was superseded that was so at the start.
var before = time.Unix(0, 0)

// openCache makes the folder ready and learns what is in it.
func openCache(dir, node string, log *slog.Logger) (*cache, error) {
	if err := keyfile.Dir(dir); err != nil {
		return nil, fmt.Errorf("keep the configuration on disk: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("keep the configuration on disk: %w", err)
	}
	c := &cache{dir: dir, node: node, log: log}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".set-") || strings.HasPrefix(e.Name(), ".trial-") {
			_ = os.Remove(filepath.Join(dir, e.Name())) // what a killed agent was about to write
		}
		name, _, bad := strings.Cut(e.Name(), ".bad-")
		seq, ok := seqOf(name)
		if !ok {
			continue
		}
		c.last = max(c.last, seq)
		if !bad {
			c.gens = append(c.gens, generation{seq: seq, until: before})
		}
	}
	slices.SortFunc(c.gens, func(a, b generation) int { return cmp.Compare(a.seq, b.seq) })
	if len(c.gens) > 1 {
		c.gens[0].proven = true // that is what it was left for
	}
	c.readTrial()
	return c, nil
}

func (c *cache) path(seq uint64) string { return filepath.Join(c.dir, fmt.Sprintf("set-%d", seq)) }

func seqOf(name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, "set-")
	seq, err := strconv.ParseUint(digits, 10, 62)
	return seq, ok && err == nil && digits == strconv.FormatUint(seq, 10)
}

// load returns the newest set that can be read and was not tried in vain, nil
// when there is none. What is wrong with the others is logged, and they are
// moved aside.
func (c *cache) load() *loaded {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.gens) > 0 {
		g := &c.gens[len(c.gens)-1]
		if c.trial.Set == g.seq && c.trial.Times >= maxTries {
			c.burn()
			continue
		}
		data, err := keyfile.ReadLarge(c.path(g.seq), maxKept)
		var set *kept
		if err == nil {
			set, err = decodeKept(c.node, data)
		}
		if err == nil {
			g.digest = sha256.Sum256(data)
			g.written, g.until = time.Now(), time.Time{} // proof is counted from here
			l := &loaded{set: set, seq: g.seq, saved: g.written}
			if info, err := os.Stat(c.path(g.seq)); err == nil {
				l.saved = info.ModTime()
			}
			return l
		}
		c.discard(g.seq, err.Error())
		c.gens = c.gens[:len(c.gens)-1]
	}
	return nil
}

// burn gives up the newest set, which Envoy did not survive, and with it those
// that no Envoy is known to have lived with. It is called with the lock.
func (c *cache) burn() {
	keep := 0
	if len(c.gens) > 1 {
		keep = 1 // the oldest is the proven one
	}
	for _, g := range c.gens[keep:] {
		words := "it is as young as one that Envoy did not survive"
		if g.seq == c.trial.Set {
			words = fmt.Sprintf("Envoy did not live with it, tried %d times", c.trial.Times)
		}
		c.discard(g.seq, words)
	}
	c.gens = c.gens[:keep]
}

// discard moves a file aside, as evidence. Where that cannot be done it is
// passed over all the same.
func (c *cache) discard(seq uint64, words string) {
	path := c.path(seq)
	to := path + ".bad-" + time.Now().UTC().Format("20060102T150405.000000")
	err := os.Rename(path, to)
	c.log.Error("kept configuration passed over", "file", path, "why", words, "moved_to", to, "error", err)
	c.aside = append(c.aside, fmt.Sprintf("%s: %s", filepath.Base(path), words))
	if len(c.aside) > maxAside {
		c.aside = c.aside[1:]
	}
	c.trimAside()
}

// trimAside bounds the evidence: the latest is left.
func (c *cache) trimAside() {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return
	}
	var bad []string
	for _, e := range entries {
		if _, stamp, ok := strings.Cut(e.Name(), ".bad-"); ok {
			bad = append(bad, stamp+"/"+e.Name())
		}
	}
	slices.Sort(bad)
	for len(bad) > maxAside {
		_, name, _ := strings.Cut(bad[0], "/")
		_ = os.Remove(filepath.Join(c.dir, name))
		bad = bad[1:]
	}
}

// save keeps a set. One that is equal to the newest is there already. envoy is
// since when the present Envoy is connected; zero: none is. It says no when
// that failed, which is logged.
func (c *cache) save(set *kept, envoy time.Time, proof time.Duration) bool {
	data, err := encodeKept(c.node, set)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		err = c.write(data, time.Now(), envoy, proof)
	}
	c.tell(err)
	return err == nil
}

func (c *cache) write(data []byte, now, envoy time.Time, proof time.Duration) error {
	digest := sha256.Sum256(data)
	if n := len(c.gens); n > 0 && c.gens[n-1].digest == digest {
		return nil
	}
	seq := c.last + 1
	if err := keyfile.Write(c.path(seq), data); err != nil {
		return err
	}
	c.last = seq
	for i := range c.gens {
		if g := &c.gens[i]; g.until.IsZero() {
			g.until = now
		}
	}
	keep := append(retain(c.gens, now, envoy, proof), generation{seq: seq, digest: digest, written: now})
	for _, g := range c.gens {
		if !slices.ContainsFunc(keep, func(k generation) bool { return k.seq == g.seq }) {
			_ = os.Remove(c.path(g.seq)) // one too many does no harm
		}
	}
	c.gens = keep
	return nil
}

// retain picks, of the generations before the newest, the youngest that is
// proven and the oldest that may yet be, so that under steady change too the
// proven one is never much older than proof.
func retain(gens []generation, now, envoy time.Time, proof time.Duration) (keep []generation) {
	hope := false // keep ends with one that may yet be proven
	for _, g := range gens {
		// What was superseded before this Envoy came was never its.
		had := !envoy.IsZero() && !envoy.After(g.until)
		if had && !g.written.IsZero() {
			began := g.written
			if envoy.After(began) {
				began = envoy
			}
			g.proven = g.proven || now.Sub(began) >= proof
		}
		switch {
		case g.proven:
			keep, hope = []generation{g}, false
		case had && !hope:
			keep, hope = append(keep, g), true
		case len(keep) == 0:
			keep = append(keep, g) // better than none
		}
	}
	return keep
}

// tell logs once that the folder cannot be written, and once that it can be
// again. It is called with the lock.
func (c *cache) tell(err error) {
	switch {
	case err != nil && c.fault == "":
		c.log.Warn("configuration was not kept on disk: this host would not come back without a control plane", "folder", c.dir, "error", err)
	case err == nil && c.fault != "":
		c.log.Info("configuration kept on disk again", "folder", c.dir)
	}
	c.fault = ""
	if err != nil {
		c.fault = err.Error()
	}
}

// A CacheStatus tells of what is kept on disk.
type CacheStatus struct {
	// ServingSince is since when Envoy is served from disk, the control plane
	// not having spoken since the start; zero: it is not.
	ServingSince time.Time `json:"servingSince,omitzero"`
	// Saved is when that set was written.
	Saved time.Time `json:"saved,omitzero"`
	// Fault is why nothing can be kept.
	Fault string `json:"fault,omitempty"`
	// PassedOver lists, since the start, the files that were not used, and why.
	PassedOver []string `json:"passedOver,omitempty"`
}

func (c *cache) status() CacheStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	return CacheStatus{Fault: c.fault, PassedOver: slices.Clone(c.aside)}
}

// RemoveCache deletes what a Relay kept in dir. It succeeds when there is
// nothing, and leaves what is not the relay's.
func RemoveCache(dir string) error {
	if info, err := os.Lstat(dir); err == nil && !info.IsDir() {
		return fmt.Errorf("remove the kept configuration: %s is no folder: remove it yourself", dir)
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	others := false
	for _, e := range entries {
		name := e.Name()
		whole, _, _ := strings.Cut(name, ".bad-")
		_, ours := seqOf(whole)
		if !ours && name != "trial" && !strings.HasPrefix(name, ".set-") && !strings.HasPrefix(name, ".trial-") {
			others = true
			continue
		}
		errs = append(errs, os.RemoveAll(filepath.Join(dir, name)))
	}
	if !others {
		errs = append(errs, os.Remove(dir))
	}
	return errors.Join(errs...)
}
