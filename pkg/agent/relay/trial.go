package relay

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/weft-mesh/weft/pkg/keyfile"
)

// maxTries is how often a set is handed to an Envoy that does not survive it.
const maxTries = 2

// A trial counts the Envoys that were handed a set. It is on disk before the
// first of them sees the set, and goes when one has lived with it.
type trial struct {
	Set   uint64 `json:"set"`
	Times int    `json:"times"`
	// Envoy is the last that was handed it. One that comes again, as it does
	// when an agent was started again, has lived.
	Envoy string `json:"envoy,omitempty"`
}

func (c *cache) trialFile() string { return filepath.Join(c.dir, "trial") }

// try notes that an Envoy is about to be handed a set. It says no when as many
// as may had it and none lived with it. who is that Envoy's process, "" where
// that is not known.
func (c *cache) try(seq uint64, who string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.trial.Set != seq {
		c.trial = trial{Set: seq}
	}
	if who != "" && c.trial.Envoy == who {
		return true
	}
	if c.trial.Times >= maxTries {
		return false
	}
	c.trial.Times, c.trial.Envoy = c.trial.Times+1, who
	text, err := json.Marshal(c.trial)
	if err == nil {
		err = keyfile.Write(c.trialFile(), append(text, '\n'))
	}
	c.tell(err)
	return true
}

// lived ends the trial of a set: an Envoy lives with it, or what happens is no
// longer its doing.
func (c *cache) lived(seq uint64, proven bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.gens {
		if g := &c.gens[i]; g.seq == seq && proven {
			g.proven = true
		}
	}
	if c.trial.Set != seq || c.trial.Times == 0 {
		return
	}
	c.trial = trial{}
	if err := os.Remove(c.trialFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.tell(err)
	}
}

func (c *cache) readTrial() {
	data, err := keyfile.Read(c.trialFile())
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = json.NewDecoder(bytes.NewReader(data)).Decode(&c.trial)
	}
	if err != nil || c.trial.Times < 0 {
		c.trial = trial{}
		c.log.Warn("count of tries was passed over", "file", c.trialFile(), "error", err)
		_ = os.Remove(c.trialFile())
	}
}
