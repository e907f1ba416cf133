package relay

import (
	"maps"
	"slices"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
)

// An upside is what the control plane knows of one kind on the present stream.
type upside struct {
	open   bool                // the first request of this kind has gone out
	stale  bool                // subs and told may differ
	told   map[string]struct{} // names that were asked for
	leave  map[string]struct{} // names to unsubscribe from before anything else
	answer *answer             // to be sent
}

// An answer is an ACK, or a NACK with words.
type answer struct {
	nonce string
	words string
}

// connected begins a stream to the control plane. Nonces of the one before
// mean nothing to it.
func (t *table) connected() {
	for i := range t {
		h := &t[i]
		h.up = upside{stale: true, told: map[string]struct{}{}, leave: map[string]struct{}{}}
		h.pending = ""
		if h.view.out != nil {
			h.view.out.answers = ""
		}
	}
}

// ask returns the next request for the control plane, nil when there is
// nothing to say. However much changed in between, it is one request a kind.
func (t *table) ask() *discoveryv3.DeltaDiscoveryRequest {
	for i := range t {
		if req := t[i].ask(); req != nil {
			return req
		}
	}
	return nil
}

func (h *holding) ask() *discoveryv3.DeltaDiscoveryRequest {
	u := &h.up
	if !u.open && !h.all && len(h.subs) == 0 {
		return nil // a first request without names would ask for everything
	}
	if u.open && !u.stale && u.answer == nil {
		return nil
	}
	req := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: h.url}
	if !u.open {
		req.InitialResourceVersions = h.claims()
	}
	if u.stale {
		h.askNames(req)
	}
	if u.answer != nil {
		req.ResponseNonce = u.answer.nonce
		if u.answer.words != "" {
			req.ErrorDetail = &rpcstatus.Status{
				Code: int32(codes.InvalidArgument), Message: u.answer.words,
			}
		}
		u.answer = nil
	}
	empty := len(req.ResourceNamesSubscribe) == 0 && len(req.ResourceNamesUnsubscribe) == 0 && req.ResponseNonce == ""
	if u.open && empty {
		return nil
	}
	u.open = true
	return req
}

// askNames brings told to subs. A name that was left and is wanted again is
// unsubscribed from first: its next request must bring it anew.
func (h *holding) askNames(req *discoveryv3.DeltaDiscoveryRequest) {
	u := &h.up
	u.stale = false
	for name := range h.subs {
		_, told := u.told[name]
		_, leaving := u.leave[name]
		switch {
		case leaving:
			u.stale = true
		case !told:
			req.ResourceNamesSubscribe = append(req.ResourceNamesSubscribe, name)
			u.told[name] = struct{}{}
		}
	}
	req.ResourceNamesUnsubscribe = slices.Sorted(maps.Keys(u.leave))
	slices.Sort(req.ResourceNamesSubscribe)
	for name := range u.leave {
		delete(u.told, name)
	}
	clear(u.leave)
}

// claims says what a new stream need not send again. What Envoy runs is
// claimed by its version; what it was not given yet, or refused, only by its
// name, so that the control plane sends it again and gets its answer, or tells
// that it is gone.
func (h *holding) claims() map[string]string {
	versions := make(map[string]string, len(h.desired))
	for name, res := range h.desired {
		if res == nil {
			continue
		}
		versions[name] = ""
		if a := h.accepted[name]; a != nil && a.GetVersion() == res.GetVersion() {
			versions[name] = res.GetVersion()
		}
	}
	return versions
}
