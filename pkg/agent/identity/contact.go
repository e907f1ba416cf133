package identity

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"path/filepath"
	"strings"
	"time"

	"github.com/weft-mesh/weft/pkg/keyfile"
)

// A contact is when a control plane was heard last.
type contact struct {
	open  int       // streams on which one is heard now
	at    time.Time // when one was heard; while open is not 0, now
	noted time.Time // what is on disk
}

// graceAfter is for how long no control plane must have been heard until peers
// with expired certificates are let in: a third of a certificate's life.
// Every certificate was then good for longer than that when it was lost, as
// they are renewed at half at the latest.
func graceAfter(c *x509.Certificate) time.Duration { return c.NotAfter.Sub(c.NotBefore) / 3 }

func (i *Identity) heard() {
	i.mu.Lock()
	i.contact.at = i.now()
	i.mu.Unlock()
	i.look()
}

// met and parted are the beginning and the end of a stream on which a control
// plane is heard.
func (i *Identity) met() {
	i.mu.Lock()
	i.contact.open++
	first := i.contact.open == 1
	i.contact.at = i.now()
	i.mu.Unlock()
	i.look()
	if first {
		select {
		case i.back <- struct{}{}:
		default:
		}
	}
}

func (i *Identity) parted() {
	i.mu.Lock()
	i.contact.open--
	i.contact.at = i.now()
	i.mu.Unlock()
	i.noteContact()
}

// look lets grace begin and end.
func (i *Identity) look() {
	i.mu.Lock()
	now, c := i.now(), i.workload.leaf
	if i.contact.open > 0 || i.contact.at.After(now) { // the clock was set back
		i.contact.at = now
	}
	silent := now.Sub(i.contact.at)
	grace := c != nil && !i.about.FailClosed && i.contact.open == 0 && silent >= graceAfter(c) && len(living(i.roots, now)) > 0
	changed := grace != i.grace
	i.grace = grace
	until := lastEnd(i.roots)
	if changed {
		i.tell()
	}
	i.mu.Unlock()
	switch {
	case changed && grace:
		i.log().Warn("grace began: peers with EXPIRED certificates are let in, as no control plane has renewed any", "dataplane", i.id.String(), "silent", silent.Round(time.Second), "until", until)
	case changed:
		i.log().Warn("grace ended: peers with expired certificates are refused", "dataplane", i.id.String())
	}
}

// tend looks after what no call brings about, until ctx ends: grace, and what
// could not be written.
func (i *Identity) tend(ctx context.Context) {
	// A host that starts in a long outage is back within two seconds, and one
	// that was off for long hears a control plane first.
	for wait := firstTend; ctx.Err() == nil; wait = i.tendEvery() {
		sleep(ctx, wait, nil)
		i.look()
		i.noteContact()
		i.mu.Lock()
		unsaved := len(i.unsaved) > 0
		i.mu.Unlock()
		if unsaved {
			i.save()
			i.settleAgent()
		}
	}
}

// How often grace is looked for: a hundredth of a certificate's life, within
// these.
const (
	minTend   = 200 * time.Millisecond
	maxTend   = 30 * time.Second
	firstTend = 500 * time.Millisecond // after the start
)

func (i *Identity) tendEvery() time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	c := i.workload.leaf
	if c == nil {
		c = i.agent.leaf
	}
	return max(minTend, min(c.NotAfter.Sub(c.NotBefore)/100, maxTend))
}

func (i *Identity) contactFile() string { return filepath.Join(i.files.dir, "heard") }

// noteContact writes when a control plane was heard, if what is on disk is
// older by more than a twentieth of what grace waits for. A restart in an
// outage goes on from there.
func (i *Identity) noteContact() {
	i.mu.Lock()
	at, noted := i.contact.at, i.contact.noted
	c := i.workload.leaf
	if c == nil || at.Sub(noted).Abs() < max(graceAfter(c)/20, time.Second) {
		i.mu.Unlock()
		return
	}
	i.contact.noted = at
	i.mu.Unlock()
	if err := keyfile.Write(i.contactFile(), []byte(at.UTC().Format(time.RFC3339)+"\n")); err != nil {
		i.log().Debug("time of the last contact was not saved", "error", err) // the certificate's age stands in for it
	}
}

// readContact is what is on disk; else, and where that cannot be, what the
// certificates tell: a control plane made them.
func (i *Identity) readContact() (c contact) {
	c.at = i.agent.leaf.NotBefore
	if i.workload.leaf != nil {
		c.at = i.workload.leaf.NotBefore
	}
	data, err := keyfile.Read(i.contactFile())
	if err != nil {
		return c
	}
	at, err := time.Parse(time.RFC3339, strings.TrimSpace(string(data)))
	if err == nil && at.After(c.at) {
		c.at, c.noted = at, at
	}
	return c
}

// living returns those of the roots that have not expired.
func living(roots []byte, now time.Time) (out []byte) {
	for rest := roots; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return out
		}
		if c, err := x509.ParseCertificate(b.Bytes); err == nil && now.Before(c.NotAfter) {
			out = append(out, pem.EncodeToMemory(b)...)
		}
	}
}

// lastEnd is when the last of the roots expires.
func lastEnd(roots []byte) (end time.Time) {
	for rest := roots; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return end
		}
		if c, err := x509.ParseCertificate(b.Bytes); err == nil && c.NotAfter.After(end) {
			end = c.NotAfter
		}
	}
}
