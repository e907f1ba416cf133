package publish

import (
	"sync"

	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/cp/xds"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// A record is what a connected proxy was given.
type record struct {
	id proxy.ID

	mu       sync.Mutex
	planned  bool            // at all
	warnings []proxy.Warning // of the last plan
	bundle   *xds.Bundle     // the last good one
	failed   string          // why there is no newer one; "" where it is current
}

// records are those of all proxies, and what was read for their plans, by mesh.
type records struct {
	mu      sync.Mutex
	all     map[proxy.ID]*record
	readers map[string]*snapshot.Readers[*record]
	seen    uint64 // what the stream said of who is connected; of the round alone
}

func newRecords() records {
	return records{all: map[proxy.ID]*record{}, readers: map[string]*snapshot.Readers[*record]{}}
}

// find returns the record of a proxy, nil where there is none.
func (rs *records) find(id proxy.ID) *record {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return rs.all[id]
}

// of returns the record of a proxy, a new one where there is none.
func (rs *records) of(id proxy.ID) *record {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return rs.locked(id)
}

func (rs *records) locked(id proxy.ID) *record {
	r := rs.all[id]
	if r == nil {
		r = &record{id: id}
		rs.all[id] = r
	}
	return r
}

// begin notes that a proxy is being planned.
func (rs *records) begin(r *record) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.all[r.id] == r {
		rs.readersOf(r.id.Mesh).Begin(r)
	}
}

// read notes what was read for a proxy's plan.
func (rs *records) read(r *record, v *snapshot.View) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.all[r.id] == r {
		rs.readersOf(r.id.Mesh).Read(r, v)
	}
}

func (rs *records) readersOf(mesh string) *snapshot.Readers[*record] {
	readers := rs.readers[mesh]
	if readers == nil {
		readers = new(snapshot.Readers[*record])
		rs.readers[mesh] = readers
	}
	return readers
}

// stale returns the connected proxies that a state may ask another plan of.
func (rs *records) stale(stream Stream, state *snapshot.State) (ids []proxy.ID) {
	connected, moved := stream.ConnectedSince(rs.seen)
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if moved != rs.seen {
		rs.seen = moved
		ids = rs.keep(connected)
	}
	for mesh, readers := range rs.readers {
		for _, r := range readers.Move(state.Mesh(mesh)) {
			ids = append(ids, r.id)
		}
	}
	return ids
}

// keep drops the records of all but these proxies, and returns those of them
// that had none.
func (rs *records) keep(connected []proxy.ID) (fresh []proxy.ID) {
	there := make(map[proxy.ID]bool, len(connected))
	for _, id := range connected {
		there[id] = true
		if rs.all[id] == nil {
			rs.locked(id)
			fresh = append(fresh, id)
		}
	}
	for id, r := range rs.all {
		if !there[id] {
			rs.leave(r)
		}
	}
	return fresh
}

func (rs *records) drop(id proxy.ID) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if r := rs.all[id]; r != nil {
		rs.leave(r)
	}
}

func (rs *records) leave(r *record) {
	delete(rs.all, r.id)
	rs.readersOf(r.id.Mesh).Leave(r)
}
