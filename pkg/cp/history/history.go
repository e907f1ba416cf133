// Package history remembers of proxies what nobody else does: the streams that
// they had and the certificates that they were given.
//
// It is told of what happens and never asks. Each control plane keeps all of it
// in memory and in a journal of its own; what one is told, replicas tell each
// other. It is worth no feed and no backup: a thousand proxies that come back are
// a thousand lines in a file and no write in the store.
package history

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// maxPast is how many streams are kept of a proxy that have ended. With Kuma it
// is two, the one that is open included (metrics.dataplane.subscriptionLimit).
const maxPast = 2

// A Record is what is remembered of one proxy.
type Record struct {
	// Past are streams, the newest last. One without an end is open, as far as
	// anybody has heard.
	Past []mesh.Subscription `json:"past,omitempty"`
	MTLS *mesh.DataplaneMTLS `json:"mTLS,omitempty"`
	// Signed counts the certificates of the Dataplane that was made at Since, by
	// the keepers of who signed them: each counts his own alone, so that records
	// of several can be joined in any order, and more than once.
	Signed map[string]uint32 `json:"signed,omitempty"`
	Since  time.Time         `json:"since,omitzero"`
}

// A Keeper holds the records. Its methods may be called at once from many
// goroutines.
type Keeper struct {
	mu      sync.Mutex
	name    string // among keepers, for good where there is a journal
	records map[proxy.ID]Record
	news    map[proxy.ID]bool // that no replica was told of yet; nil: there is none
	journal *journal          // nil: nothing outlives the process
}

// New returns a keeper that forgets everything with its process. Where replicas
// is set, what is new waits for News.
func New(replicas bool) *Keeper {
	k := &Keeper{name: uuid.NewString(), records: map[proxy.ID]Record{}}
	if replicas {
		k.news = map[proxy.ID]bool{}
	}
	return k
}

// Began notes that a stream has begun: should nobody tell of its end, it ended
// with the control plane.
func (k *Keeper) Began(id proxy.ID, s mesh.Subscription) { k.change(id, with(s)) }

// Ended notes a stream that has ended.
func (k *Keeper) Ended(id proxy.ID, s mesh.Subscription) { k.change(id, with(s)) }

func with(s mesh.Subscription) func(*Record) {
	return func(r *Record) { r.Past = joined(r.Past, []mesh.Subscription{s}) }
}

// Certified notes a certificate that was signed here for the Dataplane that was
// made at since.
func (k *Keeper) Certified(id proxy.ID, m mesh.DataplaneMTLS, since time.Time) {
	k.change(id, func(r *Record) {
		r.join(Record{Since: since, Signed: map[string]uint32{k.name: r.signedBy(k.name, since) + 1}, MTLS: &m})
	})
}

// signedBy is how many certificates of the Dataplane that was made at since a
// keeper counts.
func (r *Record) signedBy(keeper string, since time.Time) uint32 {
	if r.adopt(since); !r.Since.Equal(since) {
		return 0
	}
	return r.Signed[keeper]
}

// adopt has certificates that an older version counted be those of the Dataplane
// that was made at since, unless they are of an earlier one.
func (r *Record) adopt(since time.Time) {
	if r.Since.IsZero() && r.MTLS != nil && !r.MTLS.Regenerated.Before(since) {
		r.Since, r.Signed = since, map[string]uint32{"": r.MTLS.Regenerations}
	}
}

// join adds what another record says of certificates. Records of a Dataplane
// that was made earlier count no more.
func (r *Record) join(other Record) {
	r.adopt(other.Since)
	if other.MTLS == nil || other.Since.Before(r.Since) {
		return
	}
	signed, newest := maps.Clone(other.Signed), *other.MTLS
	if other.Since.Equal(r.Since) {
		for keeper, n := range r.Signed {
			signed[keeper] = max(signed[keeper], n)
		}
		if r.MTLS != nil && r.MTLS.Regenerated.After(newest.Regenerated) {
			newest = *r.MTLS
		}
	}
	newest.Regenerations = 0
	for _, n := range signed {
		newest.Regenerations += n
	}
	r.Since, r.Signed, r.MTLS = other.Since, signed, &newest
}

func (k *Keeper) change(id proxy.ID, by func(*Record)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.records[id]
	by(&r)
	k.records[id] = r
	if k.news != nil {
		k.news[id] = true
	}
	k.journal.write(id, r)
}

// Merge adds what another replica remembers.
func (k *Keeper) Merge(id proxy.ID, other Record) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.records[id]
	r.Past = joined(r.Past, other.Past)
	if !other.Since.IsZero() && len(other.Signed) > 0 { // else an older version counted
		r.join(other)
	}
	k.records[id] = r
	k.journal.write(id, r)
}

// News returns at most so many records that other replicas were not told of.
func (k *Keeper) News(most int) map[proxy.ID]Record {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := map[proxy.ID]Record{}
	for id := range k.news {
		if len(out) == most {
			break
		}
		out[id] = k.records[id]
		delete(k.news, id)
	}
	return out
}

// Again has all records told again: others may have lost them.
func (k *Keeper) Again() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id := range k.records {
		if k.news != nil {
			k.news[id] = true
		}
	}
}

// Of is what is remembered of a proxy since its Dataplane was made: of an
// earlier one of the same name nothing is told. A stream without an end is left
// out where the control plane that held it is there, and else ended when it was
// last heard of.
func (k *Keeper) Of(id proxy.ID, since time.Time, there func(instance string) bool) Record {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.records[id]
	if r.MTLS != nil && r.MTLS.Regenerated.Before(since) {
		r.MTLS = nil
	}
	var past []mesh.Subscription
	for _, s := range r.Past {
		if s.DisconnectTime.IsZero() && there(s.ControlPlaneInstanceID) {
			continue
		}
		if s.DisconnectTime.IsZero() {
			if s.DisconnectTime = s.ConnectTime; s.Status.LastUpdateTime.After(s.ConnectTime) {
				s.DisconnectTime = s.Status.LastUpdateTime
			}
		}
		if !s.DisconnectTime.Before(since) {
			past = append(past, s)
		}
	}
	r.Past = past
	return r
}

// Forget drops those that are gone.
func (k *Keeper) Forget(gone func(proxy.ID) bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id := range k.records {
		if gone(id) {
			delete(k.records, id)
			delete(k.news, id)
		}
	}
}

// joined is the newest streams of both, each once: as it ended, where that is
// known.
func joined(a, b []mesh.Subscription) []mesh.Subscription {
	all := slices.Clone(a)
	for _, s := range b {
		i := slices.IndexFunc(all, func(o mesh.Subscription) bool { return o.ID == s.ID })
		switch {
		case i < 0:
			all = append(all, s)
		case all[i].DisconnectTime.IsZero():
			all[i] = s
		}
	}
	slices.SortStableFunc(all, func(x, y mesh.Subscription) int {
		return cmp.Or(x.ConnectTime.Compare(y.ConnectTime), cmp.Compare(x.ID, y.ID))
	})
	return slices.Clone(all[max(0, len(all)-maxPast):])
}
