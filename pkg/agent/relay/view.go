package relay

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// maxNames bounds how many names of one kind Envoy may ask for.
const maxNames = 100_000

// unsure is the version at which Envoy holds what was in a refused response
// with others: that part it may have taken or not. It equals no real version.
const unsure = "\x00unsure"

// A view is what Envoy knows of one kind on its present stream.
type view struct {
	open bool // Envoy has asked for this kind
	all  bool // for all of it
	// names are those that it asked for by name.
	names map[string]struct{}
	// held is what it has, name to version; "" is one of names that it was
	// told does not exist.
	held map[string]string
	// brought are those of held that Envoy had when this stream began.
	brought map[string]struct{}
	out     *outstanding // sent, and not answered
	stale   bool         // held may differ from what Envoy should have
	told    bool         // something was sent
	acked   bool         // something was accepted
	// suspects were in one response that was refused: they go out again one
	// by one, to learn which is at fault.
	suspects map[string]struct{}
	// retry were refused before this stream began. Each is offered once more
	// when everything else is in place: what stood in its way may be gone.
	retry []string
	// keep withholds removals, so that what refers to the removed can go
	// first.
	keep bool
}

// An outstanding is a response that Envoy has not answered.
type outstanding struct {
	nonce   string
	add     []*discoveryv3.Resource
	remove  []string
	again   map[string]struct{} // asked for again since it was sent
	answers string              // the control plane's nonce that its ACK answers
}

// attached begins a stream of Envoy's; detached ends it.
func (t *table) attached() {
	for i := range t {
		h := &t[i]
		h.detach()
		h.view = view{
			names: map[string]struct{}{}, held: map[string]string{}, brought: map[string]struct{}{},
			suspects: map[string]struct{}{}, retry: slices.Sorted(maps.Keys(h.refused)),
		}
	}
}

func (t *table) detached() {
	for i := range t {
		t[i].detach()
	}
}

func (h *holding) detach() {
	if out := h.view.out; out != nil && h.pending == "" {
		h.pending = out.answers // the next Envoy answers it
	}
	h.view = view{}
}

func (v *view) wants(name string) bool {
	_, ok := v.names[name]
	return ok || v.all
}

// outdate makes sure that name is sent again, even if a response with it is
// under way.
func (v *view) outdate(name string) {
	delete(v.held, name)
	v.stale = true
	if v.out != nil {
		v.out.again[name] = struct{}{}
	}
}

// hear takes a request of Envoy's. It returns what Envoy refused, for the log.
func (t *table) hear(i int, req *discoveryv3.DeltaDiscoveryRequest, now time.Time) (refused []string, err error) {
	h := &t[i]
	v := &h.view
	if len(v.names)+len(req.GetResourceNamesSubscribe()) > maxNames {
		return nil, fmt.Errorf("asked for more than %d %s by name", maxNames, h.name)
	}
	first := !v.open
	v.open, v.stale = true, true
	if first {
		v.all = h.all && len(req.GetResourceNamesSubscribe()) == 0
	}
	h.subscribe(req.GetResourceNamesSubscribe())
	h.unsubscribe(req.GetResourceNamesUnsubscribe())
	if first {
		for name, version := range req.GetInitialResourceVersions() {
			if v.wants(name) {
				v.held[name] = version
				v.brought[name] = struct{}{}
			}
		}
	}
	if v.out != nil && v.out.nonce == req.GetResponseNonce() {
		if req.GetErrorDetail() == nil {
			h.acked()
		} else {
			refused = h.nacked(clip(req.GetErrorDetail().GetMessage(), maxWords), now)
		}
	}
	h.settle()
	return refused, nil
}

func (h *holding) subscribe(names []string) {
	for _, name := range names {
		if name == "*" {
			h.view.all = h.all
			continue
		}
		h.view.names[name] = struct{}{}
		h.view.outdate(name) // asked for again is sent again
		if !h.all {
			h.subs[name] = struct{}{}
			h.up.stale = true
		}
	}
}

func (h *holding) unsubscribe(names []string) {
	v := &h.view
	for _, name := range names {
		if name == "*" {
			v.all = false
			maps.DeleteFunc(v.held, func(n, _ string) bool { return !v.wants(n) })
			continue
		}
		delete(v.names, name)
		delete(v.suspects, name)
		if !v.all {
			delete(v.held, name)
		}
		if !h.all {
			h.forget(name)
		}
	}
}

// acked notes that Envoy runs what it was sent.
func (h *holding) acked() {
	v := &h.view
	out := v.out
	v.out = nil
	for _, res := range out.add {
		if !v.wants(res.Name) {
			continue
		}
		h.accept(res)
		v.note(out, res.Name, res.Version)
	}
	for _, name := range out.remove {
		delete(h.accepted, name)
		v.note(out, name, "")
	}
	if !v.acked && !h.all {
		h.prune()
	}
	v.acked = true
	h.answer(out.answers)
}

// note records that Envoy has name at version; "" is without it.
func (v *view) note(out *outstanding, name, version string) {
	if _, ok := out.again[name]; ok {
		return
	}
	_, named := v.names[name]
	switch {
	case version != "" || named:
		v.held[name] = version
	default:
		delete(v.held, name)
	}
}

// prune forgets what only an earlier Envoy asked for. By its first ACK of a
// kind Envoy has asked for all that its configuration names.
func (h *holding) prune() {
	for name := range h.subs {
		if !h.view.wants(name) {
			h.forget(name)
		}
	}
}

// nacked notes that Envoy did not take what it was sent, and returns the names
// of what is certain to be at fault.
func (h *holding) nacked(words string, now time.Time) []string {
	v := &h.view
	out := v.out
	v.out = nil
	if len(out.add)+len(out.remove) > 1 {
		suspects := slices.Clone(out.remove)
		for _, res := range out.add {
			suspects = append(suspects, res.Name)
		}
		for _, name := range suspects {
			if v.wants(name) {
				v.suspects[name] = struct{}{}
				v.held[name] = unsure
			}
		}
		if h.pending == "" {
			h.pending = out.answers
		}
		return nil
	}
	var refused []string
	for _, res := range out.add {
		if v.wants(res.Name) {
			h.refuse(res, words, now)
			refused = append(refused, res.Name)
		}
	}
	for _, name := range out.remove {
		v.note(out, name, "") // nothing could be sent that removes it better
	}
	h.answer(out.answers)
	return refused
}

// compare returns how Envoy differs from what it should have, sorted by name,
// and notes what it turns out to have already.
func (h *holding) compare() (add []*discoveryv3.Resource, remove []string) {
	v := &h.view
	if !v.open || !v.stale {
		return nil, nil
	}
	for name := range h.desired {
		if !v.wants(name) {
			continue
		}
		version, known := v.held[name]
		switch res := h.effective(name); {
		case res != nil && version == res.Version:
			if h.accepted[name] != res {
				h.accept(res)
			}
		case res != nil && h.ahead(name):
		case res != nil:
			add = append(add, res)
		case h.desired[name] == nil && (!known || version != ""):
			remove = append(remove, name)
		}
	}
	if h.loaded && h.all {
		for name, version := range v.held {
			if _, ok := h.desired[name]; !ok && version != "" {
				remove = append(remove, name)
			}
		}
	}
	slices.SortFunc(add, func(a, b *discoveryv3.Resource) int { return strings.Compare(a.Name, b.Name) })
	slices.Sort(remove)
	v.stale = len(add)+len(remove) > 0
	return add, remove
}

// ahead tells that Envoy had another version of name when its stream began than
// the disk has, where nothing but the disk has spoken. What is on disk is what
// an Envoy accepted some time ago, so the other one is newer, and stays until
// the control plane says what is right.
func (h *holding) ahead(name string) bool {
	_, brought := h.view.brought[name]
	return brought && h.kept && !h.loaded && h.view.held[name] != unsure
}

// settle answers the control plane when Envoy has what it should have without
// having been sent anything.
func (h *holding) settle() {
	v := &h.view
	if h.pending == "" || !v.open || v.out != nil || len(v.suspects) > 0 {
		return
	}
	add, remove := h.compare()
	if len(add) == 0 && (len(remove) == 0 || h.lastOut()) {
		h.answer(h.pending)
	}
}

// lastOut says that removals of this kind wait for others and so must not
// hold up an answer.
func (h *holding) lastOut() bool { return h.url == clusterType }
