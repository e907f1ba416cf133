package xds

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
)

// A follower is what one stream follows of one lane, what of it the proxy has,
// and what it is still to be told. All but changed belongs to the stream's own
// goroutine.
//
// One response of a type is on its way at a time. What changes meanwhile is
// remembered by name only and looked up when the proxy has answered: a proxy
// that is slow skips to the present, and one that never answers costs no more
// than its names.
type follower struct {
	lane *lane
	wake chan<- struct{} // of the stream; capacity 1

	all   bool             // every resource of the lane, as Envoy follows clusters and listeners
	names map[string]bool  // those followed by name
	known map[string]*item // what the proxy was sent, by name; of what it brought from another stream only the version

	told    map[string]bool // names to look at that the stream itself found
	whole   bool            // look at everything
	owed    bool            // an answer, even an empty one
	nonce   string          // of the last response; "" before any
	pending bool            // it has not been answered

	mu      sync.Mutex
	changed map[string]bool // names to look at that the lane told
}

func newFollower(l *lane, wake chan<- struct{}) *follower {
	f := &follower{
		lane: l, wake: wake, names: map[string]bool{}, known: map[string]*item{},
		told: map[string]bool{}, changed: map[string]bool{},
	}
	l.join(f)
	return f
}

// mark is called by the lane.
func (f *follower) mark(names []string) {
	f.mu.Lock()
	for _, name := range names {
		f.changed[name] = true
	}
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default: // it is about to look
	}
}

// more follows further names. Whoever asks again for what he follows already
// wants it again.
func (f *follower) more(names []string) {
	for _, name := range names {
		if f.names[name] {
			delete(f.known, name)
		}
		f.names[name], f.told[name] = true, true
	}
	f.lane.follow(f, names, nil)
}

// less unfollows names.
func (f *follower) less(names []string) {
	for _, name := range names {
		delete(f.names, name)
		if !f.all {
			delete(f.known, name)
		}
	}
	f.lane.follow(f, nil, names)
}

// everything follows the whole lane, or no more.
func (f *follower) everything(on bool) {
	if f.all = on; on {
		f.whole, f.owed = true, true
		return
	}
	maps.DeleteFunc(f.known, func(name string, _ *item) bool { return !f.names[name] })
}

// again has those names sent once more that are followed, although they have
// not changed, and takes them out of names.
func (f *follower) again(names map[string]bool) {
	for name := range names {
		if f.names[name] || f.all {
			delete(f.known, name)
			f.told[name] = true
			delete(names, name)
		}
	}
}

// idle tells that the proxy has taken, or refused, all that there is.
func (f *follower) idle() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.pending && !f.whole && !f.owed && len(f.told) == 0 && len(f.changed) == 0
}

// behind tells that the lane has changed since it was looked at.
func (f *follower) behind() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.changed) > 0
}

// A news is what a follower is to be told.
type news struct {
	version string
	put     []*item // sorted by name
	gone    []string
	owed    bool
}

func (n news) empty() bool { return len(n.put) == 0 && len(n.gone) == 0 && !n.owed }

// news looks at what may have changed. It forgets nothing that it does not
// return.
func (f *follower) news() news {
	f.mu.Lock()
	look := f.changed
	f.changed = map[string]bool{}
	f.mu.Unlock()
	for name := range f.told {
		look[name] = true
	}
	if f.whole {
		for name := range f.names {
			look[name] = true
		}
		for name := range f.known {
			look[name] = true
		}
	}
	n := news{owed: f.owed}
	if len(look) == 0 && !f.whole {
		f.owed = false
		return n
	}
	found, version := f.lane.look(look, f.whole && f.all)
	f.whole, f.owed = false, false
	clear(f.told)
	n.version = version
	for name, it := range found {
		if !f.all && !f.names[name] {
			continue
		}
		old, known := f.known[name]
		switch {
		case it == nil && known:
			n.gone = append(n.gone, name)
		case it != nil && (!known || old.version != it.version):
			n.put = append(n.put, it)
		}
	}
	slices.SortFunc(n.put, func(a, b *item) int { return cmp.Compare(a.name, b.name) })
	slices.Sort(n.gone)
	return n
}

// sent notes what goes out. To cold it adds the assignments of clusters that
// the proxy had in another version.
func (f *follower) sent(put []*item, gone []string, cold map[string]bool) {
	for _, it := range put {
		if _, had := f.known[it.name]; had && it.endpoints != "" {
			cold[it.endpoints] = true
		}
		f.known[it.name] = it
	}
	for _, name := range gone {
		delete(f.known, name)
	}
}

// later has names looked at another time.
func (f *follower) later(names []string) {
	for _, name := range names {
		f.told[name] = true
	}
}

// followsAll tells the types of which a proxy that names none wants all.
func followsAll(typeURL string) bool {
	return typeURL == resource.ClusterType || typeURL == resource.ListenerType
}
