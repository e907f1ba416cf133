package envoy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// lookEvery is how often the binary's file is looked at. One that has changed is
// left alone until it has not for so long: it may be half written.
const lookEvery = time.Second

// A last is what is kept of the Envoy that last worked, for when what comes next
// does not.
type last struct {
	Form *form `json:",omitempty"` // its binary is that of the configuration, unless one is held
	// Refused is the print of a form that kept dying.
	Refused string `json:",omitempty"`
}

// want is what an Envoy is to be that may have so much: what is configured or,
// where that kept dying, what worked before.
func (p *Process) want(l Limits) (form, error) {
	f, err := p.form(l)
	if err != nil || !p.fallen(f) {
		return f, err
	}
	before := *p.last.Form
	before.Binary = p.cfg.Binary
	if p.held != nil {
		before.Binary = heldPath(p.held)
	}
	return before, nil
}

func (p *Process) fallen(f form) bool {
	return p.last.Form != nil && p.last.Refused != "" && p.last.Refused == f.print()
}

// print tells a form from all others, by the file of its binary too.
func (f form) print() string {
	info, err := os.Stat(f.Binary)
	binary := fmt.Sprint(err)
	if err == nil {
		binary = fileID(info)
	}
	text, _ := json.Marshal([]any{f.Args, f.User.key(), binary}) // cannot fail
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// fallBack has what worked before started instead of what keeps dying, and
// tells whether there is such a thing.
func (p *Process) fallBack() bool {
	f, err := p.form(p.limits)
	if err != nil || p.last.Form == nil || p.fallen(f) {
		return false
	}
	p.holdKept()
	if slices.Equal(p.last.Form.Args, f.Args) && p.held == nil {
		return false
	}
	p.last.Refused = f.print()
	p.saveLast()
	p.log.Error("envoy keeps dying as it is now; the one that worked before is started in its place, until binary or settings change", "binary", p.cfg.Binary)
	return true
}

// remember keeps r, which is to be replaced, as what worked.
func (p *Process) remember(r *running) {
	f, err := p.form(r.limits)
	if err != nil {
		return
	}
	if p.fallen(f) { // r is what worked
		p.hold(r)
		return
	}
	if p.last.Form != nil && time.Since(r.since) < p.cfg.proof {
		return
	}
	if slices.Equal(withoutEpoch(r.args), f.Args) { // the binary alone is another
		p.last = last{Form: &f}
	} else {
		doc, err := os.ReadFile(value(r.args, configFlag))
		if err != nil {
			p.log.Warn("envoy's former bootstrap could not be kept", "error", err)
			return
		}
		p.last = last{Form: &form{Args: withoutEpoch(r.args), Bootstrap: doc, User: r.as}}
	}
	p.saveLast()
	p.hold(r)
}

// hold keeps r's binary, where the file has another one now.
func (p *Process) hold(r *running) {
	other, err := otherBinary(r.pid, p.cfg.Binary)
	if p.held != nil || err == nil && !other {
		return
	}
	if p.held, err = os.Open(procFile(r.pid, "exe")); err != nil {
		p.held = nil
		p.log.Warn("envoy's former binary could not be kept", "error", err)
	}
}

// prove notes that r has lived long enough to be what works.
func (p *Process) prove(r *running) {
	f, err := p.form(r.limits)
	if err != nil || !slices.Equal(withoutEpoch(r.args), f.Args) {
		return
	}
	if other, err := otherBinary(r.pid, p.cfg.Binary); err != nil || other {
		return
	}
	if p.held != nil {
		_ = p.held.Close()
		p.held = nil
	}
	p.keepBinary(r)
	if p.last.Refused == "" && p.last.Form != nil && slices.Equal(p.last.Form.Args, f.Args) {
		return
	}
	p.last = last{Form: &f}
	p.saveLast()
}

func (p *Process) loadLast() {
	text, err := os.ReadFile(p.cfg.Keep)
	if p.cfg.Keep == "" || errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = json.Unmarshal(text, &p.last)
	}
	if err != nil {
		p.last = last{}
		p.log.Warn("what envoy was when it last worked could not be read", "error", err)
	}
	if p.last.Refused != "" {
		p.holdKept()
	}
}

func (p *Process) saveLast() {
	if p.cfg.Keep == "" {
		return
	}
	text, err := json.Marshal(p.last)
	if err == nil {
		err = os.WriteFile(p.cfg.Keep+nextSuffix, text, 0o600)
	}
	if err == nil {
		err = os.Rename(p.cfg.Keep+nextSuffix, p.cfg.Keep)
	}
	if err != nil {
		p.log.Warn("what envoy is now that it works could not be kept", "error", err, "file", filepath.Base(p.cfg.Keep))
	}
}

// changed tells whether the binary's file has changed since it was first asked,
// or it last said so, and has been left alone since the look before.
func (p *Process) changed() bool {
	info, err := os.Stat(p.cfg.Binary)
	now := fmt.Sprint(err)
	if err == nil {
		now = fileID(info)
	}
	switch {
	case p.seen == "":
		p.seen, p.taken = now, now
	case p.seen != now:
		p.seen = now
	case p.taken != now && err == nil:
		p.taken = now
		return true
	}
	return false
}

// Change has Envoy run by another configuration from now on; folders, sockets
// and log stay. Where it cannot go on as it is, it is replaced.
func (p *Process) Change(c Config) {
	for {
		select {
		case p.changes <- c:
			return
		case <-p.changes: // nobody has taken the one before
		}
	}
}

// take puts a configuration in force, but for r, whose replacement is the
// caller's to see to; r is nil where there is none.
func (p *Process) take(c Config, r *running) {
	old := p.cfg
	c.Dir, c.AdminSocket, c.Keep, c.Cgroup, c.Log = old.Dir, old.AdminSocket, old.Keep, old.Cgroup, old.Log
	p.cfg = c.complete()
	p.seen = ""
	p.changed() // from now on, not from the next look on: what changes until then is a change
	p.limitCgroup()
	if r == nil {
		return
	}
	if err := limitFiles(r.pid, c.FileLimit); err != nil && c.FileLimit != old.FileLimit {
		p.log.Warn("envoy's limit of open files could not be set", "pid", r.pid, "error", err)
	}
}
