package xds

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// A Status tells how a proxy is served. Of several streams it is the newest's.
type Status struct {
	Since   time.Time    `json:"since"`
	Delta   bool         `json:"delta"`
	Streams int          `json:"streams"`
	Agent   string       `json:"agent,omitempty"` // version, as it says itself
	Envoy   string       `json:"envoy,omitempty"` // version, as it says itself
	Types   []TypeStatus `json:"types,omitempty"` // those that were sent, in a fixed order
}

// A TypeStatus is what was sent and taken of one type of resource.
type TypeStatus struct {
	Type    string    `json:"type"` // clusters, endpoints, secrets, listeners, routes, names
	Sent    string    `json:"sent"` // version
	SentAt  time.Time `json:"sentAt"`
	Acked   string    `json:"acked,omitempty"` // version; "" until one was taken
	AckedAt time.Time `json:"ackedAt,omitzero"`
	// How many responses there were since the stream began. One that a later
	// one overtook is neither taken nor refused.
	Responses uint64 `json:"responses"`
	Taken     uint64 `json:"taken"`
	Refusals  uint64 `json:"refusals"`
	// Refused is the last refusal, until the proxy takes a later response about
	// the same resources.
	Refused *Refusal `json:"refused,omitempty"`
}

// A Refusal is a response that a proxy did not take. It goes on with what it
// had.
type Refusal struct {
	Version   string    `json:"version"`
	Resources []string  `json:"resources,omitempty"` // those that Reason names, or all of the response
	Reason    string    `json:"reason"`              // Envoy's words, at most 1 KiB
	At        time.Time `json:"at"`
}

const (
	maxReason    = 1 << 10
	maxResources = 16
	maxWaiting   = 8 // responses of one type without an answer that are remembered
)

// A response is one that was sent.
type response struct {
	typeURL, nonce, version string
	names                   func() []string
	gone                    []string
	whole                   bool // it has everything of its type
}

// unmended tells which of the refused resources a response that was taken does not
// speak of: the proxy still goes on with what it had of those.
func (r response) unmended(refused []string) (left []string) {
	if r.whole {
		return nil
	}
	names := r.names()
	return slices.DeleteFunc(slices.Clone(refused), func(n string) bool {
		return slices.Contains(names, n) || slices.Contains(r.gone, n)
	})
}

// A tracker follows what one stream was sent and what it answered.
type tracker struct {
	mu    sync.Mutex
	types map[string]*typeState
}

type typeState struct {
	TypeStatus
	waiting []response
	told    string // the refusal that was logged last
}

func (t *tracker) sent(r response) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.types == nil {
		t.types = map[string]*typeState{}
	}
	ts := t.types[r.typeURL]
	if ts == nil {
		ts = &typeState{TypeStatus: TypeStatus{Type: words[r.typeURL]}}
		t.types[r.typeURL] = ts
	}
	ts.Sent, ts.SentAt = r.version, time.Now().UTC()
	ts.Responses++
	if len(ts.waiting) == maxWaiting {
		ts.waiting = slices.Delete(ts.waiting, 0, 1)
	}
	ts.waiting = append(ts.waiting, r)
}

// answered notes the answer to a response; refused is "" where it was taken.
// It returns the refusal, and whether it says anything that the one before did
// not. A nonce that is not waited for (a change of subscription repeats the
// last one) tells nothing.
func (t *tracker) answered(typeURL, nonce, refused string) (_ *Refusal, news bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ts := t.types[typeURL]
	if ts == nil {
		return nil, false
	}
	i := slices.IndexFunc(ts.waiting, func(r response) bool { return r.nonce == nonce })
	if i < 0 {
		return nil, false
	}
	r := ts.waiting[i]
	ts.waiting = slices.Delete(ts.waiting, 0, i+1)
	now := time.Now().UTC()
	if refused == "" {
		ts.Taken++
		ts.Acked, ts.AckedAt = r.version, now
		if ts.Refused != nil {
			if left := r.unmended(ts.Refused.Resources); len(left) > 0 {
				still := *ts.Refused // who has the other one may be reading it
				still.Resources = left
				ts.Refused = &still
				return nil, false
			}
		}
		ts.Refused, ts.told = nil, ""
		return nil, false
	}
	ts.Refusals++
	ts.Refused = &Refusal{Version: r.version, Resources: blamed(r.names(), refused), Reason: refused, At: now}
	news = ts.told != refused
	ts.told = refused
	return ts.Refused, news
}

// blamed picks the names that the proxy's words mention; all where they
// mention none.
func blamed(names []string, reason string) []string {
	var hit []string
	for _, n := range names {
		if n != "" && strings.Contains(reason, n) {
			hit = append(hit, n)
		}
	}
	if len(hit) == 0 {
		hit = names
	}
	return slices.Clip(hit[:min(len(hit), maxResources)])
}

func (t *tracker) status() Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	var s Status
	for _, typeURL := range order {
		if ts := t.types[typeURL]; ts != nil {
			s.Types = append(s.Types, ts.TypeStatus)
		}
	}
	return s
}

// reasonOf is the words of a refusal, never "" for one. detail is a request's
// error detail, present tells whether it has one.
func reasonOf(present bool, detail string) string {
	switch {
	case !present:
		return ""
	case detail == "":
		return "no reason given"
	case len(detail) > maxReason:
		return strings.ToValidUTF8(detail[:maxReason], "")
	}
	return detail
}
