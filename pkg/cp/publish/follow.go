package publish

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/failpoint"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// retry is how long to wait before a store that failed is asked again.
const retry = time.Second

// errLost: the feed closed; what was missed is found by listing.
var errLost = errors.New("the feed of changes was lost")

// follow keeps the state abreast of the store.
func (p *Publisher) follow(ctx context.Context) error {
	for ctx.Err() == nil {
		began := time.Now()
		if err := p.session(ctx); ctx.Err() == nil {
			p.log.Warn("store is listed again", "error", err)
			lost := errors.Is(err, errLost) || errors.Is(err, store.ErrCompacted)
			p.rest(ctx, lost && time.Since(began) > retry)
		}
	}
	return nil
}

// rest waits for retry, unless a feed was lost that had served for a while.
func (p *Publisher) rest(ctx context.Context, served bool) {
	if served {
		return
	}
	select {
	case <-time.After(retry):
	case <-ctx.Done():
	}
}

// session lists everything and watches from there, until the feed is lost.
//
// The first change after quiet is published at once, with what has come in
// together with it; what follows is gathered for as long as coalesce.
func (p *Publisher) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	page, err := p.store.List(ctx, store.Query{})
	if err != nil {
		return fmt.Errorf("list the store: %w", err)
	}
	feed, err := p.store.Watch(ctx, page.At)
	if err != nil {
		return fmt.Errorf("watch the store from version %d: %w", page.At, err)
	}
	// The last change is of nothing: the state is at the page's version, also
	// where what was written last is gone.
	p.apply(append(p.difference(page), store.Change{Version: page.At}))

	var changes []store.Change
	moved := false
	var window <-chan time.Time // nil in quiet
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case c, ok := <-feed:
			if !ok {
				return errLost
			}
			changes = append(changes, c)
		case p.resolved = <-p.hosts:
			moved = true
		case p.hashes = <-p.files:
			moved = true
		case <-window:
			window = nil
			if len(changes) == 0 && !moved {
				continue
			}
		}
		if window != nil {
			continue
		}
		p.apply(ready(changes, feed))
		changes, moved = nil, false
		window = time.After(coalesce)
	}
}

// ready adds what the feed has at hand. A channel that closed is left for the
// next read.
func ready(changes []store.Change, feed <-chan store.Change) []store.Change {
	for range cap(feed) {
		select {
		case c, ok := <-feed:
			if !ok {
				return changes
			}
			changes = append(changes, c)
		default:
			return changes
		}
	}
	return changes
}

// difference is what has to change for the state to be the page: a store that
// is listed again moves only what is different.
func (p *Publisher) difference(page store.Page) (changes []store.Change) {
	there := make(map[mesh.Key]bool, len(page.Items))
	for i := range page.Items {
		r := &page.Items[i]
		there[r.Key()] = true
		if p.versions[r.Key()] != r.Meta.Version {
			changes = append(changes, store.Change{Key: r.Key(), Version: r.Meta.Version, Now: r})
		}
	}
	for k := range p.versions {
		if !there[k] {
			changes = append(changes, store.Change{Key: k, Version: page.At})
		}
	}
	return changes
}

// apply makes the next state and sends it on its way. Endpoints, and at first
// names, are there before the state is: so a proxy that comes back to a
// control plane that has just started is told of no loss.
func (p *Publisher) apply(changes []store.Change) {
	_ = failpoint.At(failpoint.PublishApply)
	now := time.Now()
	judge := map[string]bool{}
	for _, c := range changes {
		if name, ok := judgedBy(c.Key); ok {
			judge[name] = true
		}
		p.vault.keep(c)
		if c.Now == nil {
			delete(p.versions, c.Key)
		} else {
			p.versions[c.Key] = c.Now.Meta.Version
		}
	}
	for name := range judge {
		p.stream.Judge(name)
	}
	prev := p.state.Load()
	first := prev == nil
	if first {
		prev = snapshot.Empty()
	}
	next := snapshot.Next(prev, snapshot.Input{Changes: changes, Hosts: p.resolved, Files: p.hashes})
	p.begun.Store(int64(next.Version()))
	p.publishEndpoints(prev, next)
	if first {
		p.publishNames(next)
	}
	p.swap(next)

	select { // the oldest wish counts for the time it took
	case now = <-p.dirty:
	default:
	}
	p.dirty <- now
	offer(p.hostNames, next.HostNames())
	offer(p.fileNames, next.FileNames())
}
