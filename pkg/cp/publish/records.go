package publish

import (
	"sync"

	"github.com/weft-mesh/weft/pkg/cp/snapshot"
	"github.com/weft-mesh/weft/pkg/cp/xds"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// A record is what a connected proxy was given, and why.
type record struct {
	mu       sync.Mutex
	view     *snapshot.View  // what its plan read; nil: not planned yet
	warnings []proxy.Warning // of that plan
	bundle   *xds.Bundle     // the last good one
	failed   string          // why there is no newer one; "" where it is current
}

// fresh tells whether what the proxy was given is right after a step. While it
// is planned it is not.
func (r *record) fresh(s *snapshot.Step) bool {
	if !r.mu.TryLock() {
		return false
	}
	defer r.mu.Unlock()
	return r.view != nil && r.view.After(s)
}

// records are those of all proxies.
type records struct {
	mu  sync.Mutex
	all map[proxy.ID]*record
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
		r = new(record)
		rs.all[id] = r
	}
	return r
}

// keep returns the records of ids, in their order, and drops all others.
func (rs *records) keep(ids []proxy.ID) []*record {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	kept := make([]*record, len(ids))
	for i, id := range ids {
		kept[i] = rs.locked(id)
	}
	if len(rs.all) > len(ids) {
		rs.all = make(map[proxy.ID]*record, len(ids))
		for i, id := range ids {
			rs.all[id] = kept[i]
		}
	}
	return kept
}

func (rs *records) drop(id proxy.ID) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	delete(rs.all, id)
}
