package relay

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// A table is everything that the relay holds, one holding a kind. Its methods
// only turn one state into the next: they know no stream, no clock, no lock.
type table [kindCount]holding

// A holding is what there is of one kind: what the control plane wants, what
// Envoy runs, and what either side is still to be told.
type holding struct {
	kind
	// subs are the names to ask for; unused for a kind that is asked for
	// whole.
	subs map[string]struct{}
	// desired is the control plane's word. A nil resource is one that was
	// asked for and does not exist.
	desired map[string]*discoveryv3.Resource
	loaded  bool   // the control plane has spoken: what is not desired is gone
	kept    bool   // began with what was kept
	version string // the control plane's name for the whole
	state   uint64 // version of the control plane's store that desired is of, at most
	// accepted is what the receiver took last. It outlives Envoy's streams.
	accepted map[string]*discoveryv3.Resource
	refused  map[string]refusal
	// pending is the nonce of the newest response that has no answer yet: one
	// answer stands for all that went before.
	pending string

	up   upside
	view view
}

// A refusal is a version of a resource that was not taken.
type refusal struct {
	version string
	words   string
	at      time.Time
	told    bool // the control plane knows
}

func newTable() (t table) {
	for i, k := range kinds {
		t[i] = holding{
			kind:     k,
			subs:     map[string]struct{}{},
			desired:  map[string]*discoveryv3.Resource{},
			accepted: map[string]*discoveryv3.Resource{},
			refused:  map[string]refusal{},
		}
	}
	t[names].subs[namesResource] = struct{}{}
	return t
}

// update takes what the control plane sent. What nobody asked for is dropped.
func (h *holding) update(resp *discoveryv3.DeltaDiscoveryResponse) {
	h.loaded = true
	h.version = resp.GetSystemVersionInfo()
	h.pending = resp.GetNonce()
	h.state = max(h.state, stateOf(resp))
	h.view.stale = true
	for _, res := range resp.GetResources() {
		if res.GetResource() == nil || !h.asked(res.GetName()) {
			continue
		}
		if res.Version == "" {
			res.Version = contentVersion(res)
		}
		if ref, ok := h.refused[res.Name]; ok && ref.version == res.Version {
			ref.told = false // sent again: wants to hear it again
			h.refused[res.Name] = ref
		} else {
			delete(h.refused, res.Name)
		}
		if h.desired[res.Name] == nil {
			// It was gone in between: what was before is not to come back.
			delete(h.accepted, res.Name)
		}
		h.desired[res.Name] = res
	}
	for _, name := range resp.GetRemovedResources() {
		if !h.asked(name) {
			continue
		}
		delete(h.refused, name)
		if h.all {
			delete(h.desired, name)
		} else {
			h.desired[name] = nil
		}
	}
}

func (h *holding) asked(name string) bool {
	_, ok := h.subs[name]
	return ok || h.all
}

// effective returns what Envoy should run under name: what is desired or,
// where that was refused, what was accepted before. Nil: nothing.
func (h *holding) effective(name string) *discoveryv3.Resource {
	res := h.desired[name]
	if res != nil && h.isRefused(res) {
		return h.accepted[name]
	}
	return res
}

func (h *holding) isRefused(res *discoveryv3.Resource) bool {
	ref, ok := h.refused[res.Name]
	return ok && ref.version == res.Version
}

// accept notes that the receiver runs res. Where that is an older version than
// the one desired, the refusal of the latter stands.
func (h *holding) accept(res *discoveryv3.Resource) {
	h.accepted[res.Name] = res
	if h.desired[res.Name].GetVersion() == res.Version {
		delete(h.refused, res.Name)
	}
}

// refuse notes that the receiver does not take res. An Envoy may refuse what an
// earlier one took: then there is nothing left to go on with.
func (h *holding) refuse(res *discoveryv3.Resource, words string, now time.Time) {
	if h.accepted[res.Name].GetVersion() == res.Version {
		delete(h.accepted, res.Name)
	}
	old := h.refused[res.Name]
	h.refused[res.Name] = refusal{
		version: res.Version, words: words, at: now,
		told: old.told && old.version == res.Version,
	}
}

// forget drops what nobody asks for any more.
func (h *holding) forget(name string) {
	delete(h.subs, name)
	delete(h.desired, name)
	delete(h.accepted, name)
	delete(h.refused, name)
	if _, ok := h.up.told[name]; ok {
		h.up.leave[name] = struct{}{}
	}
	h.up.stale = true
}

// answer readies the answer to the response that nonce names: ACK, or NACK
// when something was refused that the control plane does not know of yet.
func (h *holding) answer(nonce string) {
	if nonce == "" {
		return
	}
	var words []string
	for _, name := range slices.Sorted(maps.Keys(h.refused)) {
		ref := h.refused[name]
		if ref.told {
			continue
		}
		words = append(words, name+": "+ref.words)
		ref.told = true
		h.refused[name] = ref
	}
	h.up.answer = &answer{nonce: nonce, words: clip(strings.Join(words, "\n"), maxWords)}
	if h.pending == nonce {
		h.pending = ""
	}
}

// maxWords bounds, in bytes, what is kept and passed on of Envoy's words.
const maxWords = 8 << 10

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

func contentVersion(res *discoveryv3.Resource) string {
	sum := sha256.Sum256(res.GetResource().GetValue())
	return hex.EncodeToString(sum[:8])
}
