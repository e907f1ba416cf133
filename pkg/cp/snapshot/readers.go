package snapshot

import (
	"maps"
	"slices"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// Readers knows what each of many readers of one mesh has read, and finds those
// whom a step concerns. What that costs grows with what is different and with
// whom it concerns, and not with how many readers there are.
//
// One goroutine at a time may use it. The zero value has no readers, and stands
// where the mesh is not there.
type Readers[K comparable] struct {
	at       *Mesh // where readers stand, but for those apart
	read     map[K][]*read[K]
	by       map[question]*read[K]
	policies map[*mesh.Kind]map[Likeness]*read[K]
	apart    map[K]*Mesh // who read at another moment
	busy     map[K]bool  // who is reading
}

// A read is what some readers have read: the answer to a question, or those
// policies of a kind that matter to them.
type read[K comparable] struct {
	question question // of aboutPolicies with matters: of its kind
	like     Likeness
	matters  func(*mesh.Resource) bool // nil: the answer
	readers  map[K]struct{}
}

// concerned tells whether it is different after a step.
func (r *read[K]) concerned(s *Step) bool {
	if r.matters == nil {
		return s.changed[r.question]
	}
	return s.matters(r.question.kind, r.matters)
}

// Begin notes that k begins to read: until it has Read, every Move finds it.
func (rs *Readers[K]) Begin(k K) { put(&rs.busy, k, true) }

// Read notes that k has read what v did, and forgets what it read before.
func (rs *Readers[K]) Read(k K, v *View) {
	rs.Leave(k)
	if v.mesh != rs.at {
		put(&rs.apart, k, v.mesh)
	}
	reads := make([]*read[K], 0, len(v.questions)+len(v.policies))
	note := func(r *read[K]) {
		if _, twice := r.readers[k]; !twice {
			r.readers[k] = struct{}{}
			reads = append(reads, r)
		}
	}
	for _, q := range v.questions {
		r := rs.by[q]
		if r == nil {
			r = &read[K]{question: q, readers: map[K]struct{}{}}
			put(&rs.by, q, r)
		}
		note(r)
	}
	for _, p := range v.policies {
		of, like := rs.policies[p.kind], p.like()
		r := of[like]
		if r == nil {
			r = &read[K]{question: question{about: aboutPolicies, kind: p.kind}, like: like, matters: p.matters, readers: map[K]struct{}{}}
			put(&of, like, r)
			put(&rs.policies, p.kind, of)
		}
		note(r)
	}
	put(&rs.read, k, reads)
}

// Leave forgets k.
func (rs *Readers[K]) Leave(k K) {
	delete(rs.busy, k)
	delete(rs.apart, k)
	for _, r := range rs.read[k] {
		if delete(r.readers, k); len(r.readers) > 0 {
			continue
		}
		if r.matters == nil {
			delete(rs.by, r.question)
		} else {
			delete(rs.policies[r.question.kind], r.like)
		}
	}
	delete(rs.read, k)
}

// Move has all readers stand at a later moment of the mesh, nil where it is gone,
// and returns those to whom something that they read is different there, and
// those that are reading, in no order.
func (rs *Readers[K]) Move(to *Mesh) []K {
	found := maps.Clone(rs.busy)
	find := func(k K) { put(&found, k, true) }
	steps := map[*Mesh]*Step{rs.at: Between(rs.at, to)}
	for r := range rs.concerned(steps[rs.at]) {
		for k := range r.readers {
			if _, apart := rs.apart[k]; !apart {
				find(k)
			}
		}
	}
	for k, from := range rs.apart {
		step := steps[from]
		if step == nil {
			step = Between(from, to)
			steps[from] = step
		}
		if step.all || slices.ContainsFunc(rs.read[k], func(r *read[K]) bool { return r.concerned(step) }) {
			find(k)
		}
	}
	if steps[rs.at].all {
		for k := range rs.read {
			if _, apart := rs.apart[k]; !apart {
				find(k)
			}
		}
	}
	rs.at = to
	clear(rs.apart)
	return slices.Collect(maps.Keys(found))
}

// concerned yields what was read that is different after a step.
func (rs *Readers[K]) concerned(s *Step) func(yield func(*read[K]) bool) {
	return func(yield func(*read[K]) bool) {
		for q := range s.changed {
			if r := rs.by[q]; r != nil && !yield(r) {
				return
			}
		}
		for kind := range s.policies {
			for _, r := range rs.policies[kind] {
				if r.concerned(s) && !yield(r) {
					return
				}
			}
		}
	}
}
