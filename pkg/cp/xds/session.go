package xds

import (
	"cmp"
	"slices"
	"strconv"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/weft-mesh/weft/pkg/failpoint"
)

// A request is one of either protocol.
type request struct {
	typeURL, nonce string
	refused        string // Envoy's words; "" where it took the response, or answers none

	subscribe, unsubscribe []string          // delta
	versions               map[string]string // delta: what the proxy has from a stream before
	names                  []string          // state of the world: all that it follows
}

// A session is the protocol of one stream, delta or state of the world. It
// belongs to one goroutine; lanes wake it.
type session struct {
	st        *stream
	out       grpc.ServerStream
	wake      chan struct{}
	followers map[string]*follower // by type
	named     map[string]bool      // state of the world: types that were ever asked for by name
	nonces    uint64
	cold      map[string]bool // assignments to send again: their clusters changed
}

func newSession(st *stream, out grpc.ServerStream) *session {
	return &session{
		st: st, out: out, wake: make(chan struct{}, 1),
		followers: map[string]*follower{}, named: map[string]bool{}, cold: map[string]bool{},
	}
}

// run serves first and what receive returns, until either fails.
func (s *session) run(first request, receive func() (request, error)) error {
	defer func() {
		for _, f := range s.followers {
			f.lane.leave(f)
		}
	}()
	requests, failed := make(chan request), make(chan error, 1)
	go func() {
		for {
			r, err := receive()
			if err != nil {
				failed <- err
				return
			}
			select {
			case requests <- r:
			case <-s.st.ctx.Done():
				return
			}
		}
	}()
	if err := s.take(first); err != nil {
		return err
	}
	s.st.asked.of(s)
	for {
		if err := s.ask(); err != nil {
			return err
		}
		if err := s.tell(); err != nil {
			return err
		}
		select {
		case r := <-requests:
			if err := s.take(r); err != nil {
				return err
			}
		case <-s.wake:
		case err := <-failed:
			return err
		case <-s.st.ctx.Done():
			return s.st.ctx.Err()
		}
	}
}

// take notes what a request says.
func (s *session) take(r request) error {
	if r.nonce != "" {
		_ = failpoint.At(failpoint.StreamAck)
	}
	s.st.answered(r.typeURL, r.nonce, r.refused)
	if err := s.own(r); err != nil {
		return err
	}
	f, again := s.followers[r.typeURL]
	if !again {
		f = newFollower(s.st.lane(r.typeURL), s.wake)
		s.followers[r.typeURL] = f
	}
	stale := again && r.nonce != "" && r.nonce != f.nonce
	if r.nonce != "" && !stale {
		f.pending = false
	}
	if s.st.delta {
		return s.takeDelta(f, r, !again)
	}
	if stale {
		return nil // it will answer the later response as well
	}
	return s.takeWorld(f, r)
}

// own refuses whoever wants to hear what another proxy's agent is told.
func (s *session) own(r request) error {
	if r.typeURL != LookType {
		return nil
	}
	for _, name := range slices.Concat(r.subscribe, r.names) {
		if name != s.st.id.String() {
			return status.Errorf(codes.PermissionDenied, "%s of %.128q is not for %s", words[r.typeURL], name, s.st.id)
		}
	}
	return nil
}

func (s *session) takeDelta(f *follower, r request, first bool) error {
	if err := limit(r.typeURL, len(r.versions)); err != nil {
		return err
	}
	if first {
		for name, v := range r.versions {
			f.known[name] = &item{name: name, version: v}
		}
	}
	less, none := withoutStar(r.unsubscribe)
	if none && f.all {
		f.everything(false)
	}
	f.less(less)
	more, all := withoutStar(r.subscribe)
	if all || first && len(r.subscribe) == 0 && followsAll(r.typeURL) {
		f.everything(true)
	}
	f.more(more)
	return limit(r.typeURL, len(f.names))
}

// takeWorld compares the names with those of before. The first request of a
// type is answered whatever the proxy says it has: it cannot tell what it has
// of which nothing is left.
func (s *session) takeWorld(f *follower, r request) error {
	if err := limit(r.typeURL, len(r.names)); err != nil {
		return err
	}
	want, all := withoutStar(r.names)
	s.named[r.typeURL] = s.named[r.typeURL] || len(r.names) > 0
	all = all || followsAll(r.typeURL) && !s.named[r.typeURL]
	if all != f.all {
		f.everything(all)
	}
	wanted := make(map[string]bool, len(want))
	var more, less []string
	for _, name := range want {
		if wanted[name] = true; !f.names[name] {
			more = append(more, name)
		}
	}
	for name := range f.names {
		if !wanted[name] {
			less = append(less, name)
		}
	}
	f.less(less)
	f.more(more)
	return nil
}

func withoutStar(names []string) (rest []string, star bool) {
	rest = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == "*" })
	return rest, len(rest) < len(names)
}

func limit(typeURL string, n int) error {
	if n > maxNames {
		return status.Errorf(codes.ResourceExhausted, "the stream follows %d %s; %d is the limit", n, words[typeURL], maxNames)
	}
	return nil
}

// tell sends what the proxy lacks, in the order in which nothing is missed:
// clusters, their endpoints and secrets, and once it has taken the clusters
// listeners and routes. Clusters that are no more are taken away when the proxy
// has answered everything that made it leave them.
//
// A cluster that changed gets its endpoints again: Envoy keeps it out of use
// until they come, does not ask for them, and acknowledges no cluster before.
func (s *session) tell() error {
	for _, typeURL := range order {
		f := s.followers[typeURL]
		if f == nil || f.pending || s.early(f) {
			continue
		}
		if typeURL == resource.EndpointType {
			f.again(s.cold)
		}
		n := f.news()
		if typeURL == resource.ClusterType && len(n.gone) > 0 && !s.settled() {
			f.later(n.gone)
			n.gone = nil
		}
		if err := s.send(f, n); err != nil {
			return err
		}
	}
	return nil
}

// early tells that listeners or routes must wait: they may name clusters that
// the proxy was not told of yet, or that it is still making ready, and it would
// fail the calls. What it is told first of a type does not wait, as it is not in
// use before the proxy has everything.
func (s *session) early(f *follower) bool {
	if t := f.lane.typeURL; f.nonce == "" || t != resource.ListenerType && t != resource.RouteType {
		return false
	}
	c := s.followers[resource.ClusterType]
	return c != nil && (c.pending || c.behind())
}

// settled tells that no listener or route is on its way to the proxy.
func (s *session) settled() bool {
	for _, typeURL := range []string{resource.ListenerType, resource.RouteType} {
		if f := s.followers[typeURL]; f != nil && !f.idle() {
			return false
		}
	}
	return true
}

// send sends n, unless there is nothing to say.
func (s *session) send(f *follower, n news) error {
	if n.empty() {
		return nil
	}
	f.sent(n.put, n.gone, s.cold)
	typeURL := f.lane.typeURL
	if !s.st.delta {
		n.gone = nil
		if followsAll(typeURL) {
			n.put = f.holds()
		} else if n.empty() {
			return nil // nothing can be said of what is no more
		}
	}
	s.nonces++
	f.nonce, f.pending = strconv.FormatUint(s.nonces, 10), true
	// Before it is out, so that no answer is faster.
	s.st.sent(response{typeURL: typeURL, nonce: f.nonce, version: n.version, names: namesOf(n.put), gone: n.gone, whole: !s.st.delta})
	m := s.frame(typeURL, f.nonce, n)
	if state := s.st.s.state; s.st.delta && state != nil {
		m.add(protowire.AppendBytes(protowire.AppendTag(nil, responseFrom, protowire.BytesType), appendString(nil, 1, state())))
	}
	_ = failpoint.At(failpoint.StreamSend)
	if err := s.st.send(func() error { return s.out.SendMsg(m) }); err != nil {
		return err
	}
	return failpoint.At(failpoint.StreamSent)
}

func namesOf(items []*item) func() []string {
	return func() (names []string) {
		for _, it := range items {
			names = append(names, it.name)
		}
		return names
	}
}

// Field numbers of both kinds of response.
const (
	responseVersion = 1
	responseType    = 4
	responseNonce   = 5
	responseRemoved = 6 // delta only
	responseFrom    = 7 // delta only: a ControlPlane, of which 1 is the identifier
)

// frame puts a response together out of what is encoded already.
func (s *session) frame(typeURL, nonce string, n news) *frame {
	m := &frame{}
	m.add(appendString(nil, responseVersion, n.version))
	for _, it := range n.put {
		if s.st.delta {
			m.add(it.delta)
		} else {
			m.add(it.world)
		}
	}
	tail := appendString(appendString(nil, responseType, typeURL), responseNonce, nonce)
	for _, name := range n.gone {
		tail = protowire.AppendString(protowire.AppendTag(tail, responseRemoved, protowire.BytesType), name)
	}
	m.add(tail)
	return m
}

// holds is all that the proxy has by now, sorted by name.
func (f *follower) holds() []*item {
	items := make([]*item, 0, len(f.known))
	for _, it := range f.known {
		items = append(items, it)
	}
	slices.SortFunc(items, func(a, b *item) int { return cmp.Compare(a.name, b.name) })
	return items
}

func fromDelta(r *discoveryv3.DeltaDiscoveryRequest) request {
	return request{
		typeURL: r.GetTypeUrl(), nonce: r.GetResponseNonce(),
		refused:   reasonOf(r.GetErrorDetail() != nil, r.GetErrorDetail().GetMessage()),
		subscribe: r.GetResourceNamesSubscribe(), unsubscribe: r.GetResourceNamesUnsubscribe(), versions: r.GetInitialResourceVersions(),
	}
}

func fromWorld(r *discoveryv3.DiscoveryRequest) request {
	return request{
		typeURL: r.GetTypeUrl(), nonce: r.GetResponseNonce(),
		refused: reasonOf(r.GetErrorDetail() != nil, r.GetErrorDetail().GetMessage()),
		names:   r.GetResourceNames(),
	}
}
