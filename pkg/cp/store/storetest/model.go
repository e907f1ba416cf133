package storetest

import (
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// A history is what clients and a watcher told, in the order in which it was
// read: a call is told before it is made, an answer after it has come, so that
// order allows no less than what was.
type history struct {
	open   map[int]int // by client: its operation that has no answer yet
	ops    []porcupine.Operation
	now    int64
	seen   int64            // version of the watcher
	faults []string         // what the watcher should not have been told
	acked  map[int64]string // version -> content of an acknowledged put
}

func newHistory() *history { return &history{open: map[int]int{}, acked: map[int64]string{}} }

// add takes a line. The last one of a process that was killed may be torn.
func (h *history) add(t *testing.T, line string) {
	var e event
	if err := json.Unmarshal([]byte(line), &e); err != nil || e.Op == "" {
		return
	}
	h.now++
	switch {
	case e.Op == "saw":
		if e.Version != h.seen+1 {
			h.faults = append(h.faults, "version "+strconv.FormatInt(e.Version, 10)+" after "+strconv.FormatInt(h.seen, 10))
		}
		h.seen = e.Version
	case !e.Return:
		h.open[e.Client] = len(h.ops)
		h.ops = append(h.ops, porcupine.Operation{ClientId: len(h.ops), Input: e, Call: h.now, Output: event{Outcome: "unknown"}, Return: 1 << 62})
	default:
		i, ok := h.open[e.Client]
		if !ok {
			t.Errorf("an answer to nothing: %s", line)
			return
		}
		delete(h.open, e.Client)
		if e.Outcome == "unknown" {
			return // it may be done at any time from now on
		}
		h.ops[i].Output, h.ops[i].Return = e, h.now
		if e.Op == "put" && e.Outcome == "ok" {
			h.acked[e.Version] = e.Content
		}
	}
}

// barrier writes something else once the process was killed. A store orders
// its writes: what had no answer by then was done before, or never is.
func (h *history) barrier(t *testing.T, s store.Store) {
	t.Helper()
	k := secret("barrier", nil)
	if found, err := s.Get(t.Context(), k.Key()); err == nil {
		k.Meta.Version = found.Meta.Version
	}
	put(t, s, k)
	closeStore(t, s)
	h.now++
	clear(h.open)
	for i := range h.ops {
		h.ops[i].Return = min(h.ops[i].Return, h.now)
	}
}

// A key of the model.
type value struct {
	version int64 // 0: there is none; -1: nobody was told
	content string
}

// model is one resource of a store that does one thing after the other. An
// operation without an answer may have been done or not.
func model() porcupine.Model {
	m := porcupine.NondeterministicModel{
		Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
			parts := make([][]porcupine.Operation, keys)
			for _, o := range all {
				k := o.Input.(event).Key
				parts[k] = append(parts[k], o)
			}
			return parts
		},
		Init:  func() []any { return []any{value{}} },
		Equal: func(a, b any) bool { return a == b },
		Step: func(state, input, output any) []any {
			return step(state.(value), input.(event), output.(event))
		},
	}
	return m.ToModel()
}

func step(is value, in, out event) []any {
	fits := is.version == in.At
	if is.version == -1 {
		fits = false // who was not told of it cannot write over it
	}
	same, gone := []any{is}, []any{value{}}
	switch in.Op {
	case "get":
		switch {
		case out.Outcome == "unknown", out.Outcome == "none" && is.version == 0:
			return same
		case out.Outcome == "ok" && is.content == out.Content && (is.version == out.Version || is.version == -1):
			return []any{value{out.Version, out.Content}}
		}
	case "put":
		switch {
		case out.Outcome == "ok" && fits:
			return []any{value{out.Version, in.Content}}
		case out.Outcome == "conflict" && !fits:
			return same
		case out.Outcome == "unknown" && fits:
			return []any{is, value{-1, in.Content}}
		case out.Outcome == "unknown":
			return same
		}
	case "delete":
		switch {
		case out.Outcome == "ok" && fits:
			return gone
		case out.Outcome == "conflict" && !fits && is.version != 0, out.Outcome == "none" && is.version == 0:
			return same
		case out.Outcome == "unknown" && fits:
			return []any{is, value{}}
		case out.Outcome == "unknown":
			return same
		}
	}
	return nil
}

// check judges the history, with what the store holds in the end read once
// more, and its feed.
func (h *history) check(t *testing.T, s store.Store, seed int64, kills int) {
	t.Helper()
	for k := range keys {
		key := secret("key-"+strconv.Itoa(k), nil).Key()
		in := event{Op: "get", Key: k}
		out := event{Outcome: "none"}
		if r, err := s.Get(t.Context(), key); err == nil {
			out = event{Outcome: "ok", Version: int64(r.Meta.Version), Content: string(r.Spec.(*mesh.Secret).Data)}
		}
		h.now++
		h.ops = append(h.ops, porcupine.Operation{ClientId: len(h.ops), Input: in, Call: h.now, Output: out, Return: h.now + 1})
		h.now++
	}
	verdict := porcupine.CheckOperationsTimeout(model(), h.ops, time.Minute)
	if verdict != porcupine.Ok {
		t.Errorf("seed %d: what clients were told is no history of one store: %s", seed, verdict)
	}
	for _, f := range h.faults {
		t.Errorf("seed %d: the watcher was told %s", seed, f)
	}
	lost := h.checkFeed(t, s, seed)
	unknown := 0
	for _, o := range h.ops {
		if o.Output.(event).Outcome == "unknown" {
			unknown++
		}
	}
	t.Logf("history: seed %d, kills %d, operations %d, unanswered %d, writes acknowledged %d, lost %d, watcher at %d, verdict %s",
		seed, kills, len(h.ops), unknown, len(h.acked), lost, h.seen, verdict)
}

// checkFeed wants every acknowledged write in the feed, which is long enough
// to hold them all.
func (h *history) checkFeed(t *testing.T, s store.Store, seed int64) (lost int) {
	t.Helper()
	at := list(t, s, store.Query{}).At
	ch := watch(t.Context(), t, s, 0)
	found := map[int64]string{}
	for want := mesh.Version(1); want <= at; want++ {
		c := receive(t, ch)
		if c.Version != want {
			t.Fatalf("seed %d: the feed has version %d, want %d", seed, c.Version, want)
		}
		if c.Now != nil {
			found[int64(c.Version)] = string(c.Now.Spec.(*mesh.Secret).Data)
		}
	}
	for v, content := range h.acked {
		if found[v] != content {
			lost++
			t.Errorf("seed %d: %q was acknowledged at version %d, the feed has %q there", seed, content, v, found[v])
		}
	}
	if h.seen > int64(at) {
		t.Errorf("seed %d: the watcher saw version %d, the store is at %d", seed, h.seen, at)
	}
	return lost
}
