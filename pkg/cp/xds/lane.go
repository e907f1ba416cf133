package xds

import (
	"strconv"
	"sync"
)

// A lane holds the resources of one type, and knows who follows them. What is
// put into it is marked with those whom it concerns, and wakes their streams.
type lane struct {
	typeURL string
	// byName is set where many streams follow a few names each: then a change
	// costs those only that follow what changed.
	byName bool

	mu        sync.Mutex
	revision  uint64
	items     map[string]*item
	followers map[*follower]bool
	names     map[string]map[*follower]bool // byName only
}

func newLane(typeURL string, byName bool) *lane {
	return &lane{typeURL: typeURL, byName: byName, items: map[string]*item{}, followers: map[*follower]bool{}, names: map[string]map[*follower]bool{}}
}

// update puts and deletes resources. What does not change wakes nobody.
func (l *lane) update(put []*item, gone []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var changed []string
	for _, it := range put {
		if old := l.items[it.name]; old != it {
			l.items[it.name] = it
			changed = append(changed, it.name)
		}
	}
	for _, name := range gone {
		if _, ok := l.items[name]; ok {
			delete(l.items, name)
			changed = append(changed, name)
		}
	}
	if len(changed) == 0 {
		return
	}
	l.revision++
	if !l.byName {
		for f := range l.followers {
			f.mark(changed)
		}
		return
	}
	for _, name := range changed {
		for f := range l.names[name] {
			f.mark([]string{name})
		}
	}
}

// replace makes the lane hold all and nothing else.
func (l *lane) replace(all []*item) { l.update(all, l.others(all)) }

func (l *lane) others(keep []*item) []string {
	kept := make(map[string]bool, len(keep))
	for _, it := range keep {
		kept[it.name] = true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for name := range l.items {
		if !kept[name] {
			out = append(out, name)
		}
	}
	return out
}

func (l *lane) has(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.items[name]
	return ok
}

// join and leave say who follows, follow and unfollow what of it.

func (l *lane) join(f *follower) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.followers[f] = true
}

func (l *lane) leave(f *follower) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.followers, f)
	for name := range f.names {
		l.unfollow(f, name)
	}
}

func (l *lane) follow(f *follower, more, less []string) {
	if !l.byName {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range more {
		if l.names[name] == nil {
			l.names[name] = map[*follower]bool{}
		}
		l.names[name][f] = true
	}
	for _, name := range less {
		l.unfollow(f, name)
	}
}

func (l *lane) unfollow(f *follower, name string) {
	delete(l.names[name], f)
	if len(l.names[name]) == 0 {
		delete(l.names, name)
	}
}

// look returns the resources of those names, nil for one that is not there,
// and the revision that they are of. all adds every other one.
func (l *lane) look(names map[string]bool, all bool) (found map[string]*item, version string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found = make(map[string]*item, len(names))
	for name := range names {
		found[name] = l.items[name]
	}
	if all {
		for name, it := range l.items {
			found[name] = it
		}
	}
	return found, strconv.FormatUint(l.revision, 10)
}
