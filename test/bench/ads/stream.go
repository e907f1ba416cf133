//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// A fleet is all streams, and what is looked for on them.
type fleet struct {
	c       config
	cp      *controlPlane
	streams []*stream
	refs    referenceCache

	bytes atomic.Int64 // of messages received, before TLS
	look  atomic.Pointer[sought]
	storm atomic.Bool // of refusals
	full  chan int    // a stream that has everything; its number
	broke chan error
}

// sought is a piece of text that a resource of a type is going to hold.
type sought struct {
	typeURL string
	text    []byte
	found   chan int // number of the stream
}

// A stream is one proxy at the far end: it asks for what Envoy asks for and
// acknowledges everything.
type stream struct {
	f      *fleet
	n      int
	world  bool
	cancel context.CancelFunc
	done   chan struct{}

	send  func(typeURL, nonce string, names []string, refused *status.Status) error
	asked map[string]map[string]bool   // names by type
	have  map[string]map[string]string // versions, which only delta has, by type and name
	nonce map[string]string
	full  bool
	seen  *sought // what was reported already
}

func newFleet(c config, cp *controlPlane) *fleet {
	f := &fleet{c: c, cp: cp, full: make(chan int, c.Proxies), broke: make(chan error, c.Proxies), streams: make([]*stream, c.Proxies)}
	f.refs.known = map[[sha256.Size]byte][]string{}
	return f
}

// connect opens the stream of one proxy on a connection of its own.
func (f *fleet) connect(ctx context.Context, n int) {
	ctx, cancel := context.WithCancel(ctx)
	s := &stream{
		f: f, n: n, cancel: cancel, done: make(chan struct{}), world: f.c.World > 0 && n%f.c.World == 0,
		asked: map[string]map[string]bool{}, have: map[string]map[string]string{}, nonce: map[string]string{},
	}
	if before := f.streams[n]; before != nil && !s.world { // as Envoy does, it says what it has
		s.asked, s.have, s.full = before.asked, before.have, before.full
	}
	f.streams[n] = s
	go func() {
		defer close(s.done)
		if err := s.run(ctx); err != nil && ctx.Err() == nil {
			f.broke <- fmt.Errorf("stream of %s: %w", dataplaneName(n), err)
		}
	}()
}

// close ends all streams and waits for that.
func (f *fleet) close() {
	for _, s := range f.streams {
		if s != nil {
			s.cancel()
		}
	}
	for _, s := range f.streams {
		if s != nil {
			<-s.done
		}
	}
}

// pings are those of agents (pkg/agent/relay).
var pings = keepalive.ClientParameters{Time: 15 * time.Second, Timeout: 5 * time.Second}

func (s *stream) run(ctx context.Context) error {
	conn, err := grpc.NewClient("passthrough:///"+s.f.cp.hosts, grpc.WithTransportCredentials(credentials.NewTLS(s.f.cp.tls())), grpc.WithKeepaliveParams(pings),
		grpc.WithReadBufferSize(8<<10), grpc.WithWriteBufferSize(4<<10), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", s.f.cp.token)
	client := discoveryv3.NewAggregatedDiscoveryServiceClient(conn)
	node := &corev3.Node{Id: "default." + dataplaneName(s.n)}
	if s.world {
		return s.runWorld(ctx, client, node)
	}
	return s.runDelta(ctx, client, node)
}

func (s *stream) runDelta(ctx context.Context, client discoveryv3.AggregatedDiscoveryServiceClient, node *corev3.Node) error {
	st, err := client.DeltaAggregatedResources(ctx, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	s.send = func(typeURL, nonce string, names []string, refused *status.Status) error {
		req := &discoveryv3.DeltaDiscoveryRequest{Node: node, TypeUrl: typeURL, ResponseNonce: nonce, ResourceNamesSubscribe: names, ErrorDetail: refused}
		node = nil
		return st.Send(req)
	}
	if !s.full {
		err = s.ask(resource.ClusterType, nil)
	} else {
		err = s.resume(st, node)
	}
	if err != nil {
		return err
	}
	for {
		r, err := st.Recv()
		if err != nil {
			return ended(err)
		}
		s.f.bytes.Add(int64(proto.Size(r)))
		named := make([]named, len(r.GetResources()))
		for i, res := range r.GetResources() {
			named[i].name, named[i].version, named[i].body = res.GetName(), res.GetVersion(), res.GetResource().GetValue()
		}
		if err := s.took(r.GetTypeUrl(), r.GetNonce(), named, r.GetRemovedResources()); err != nil {
			return err
		}
	}
}

// resume asks for everything that an earlier stream asked for, and says which
// versions that one had got.
func (s *stream) resume(st discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient, node *corev3.Node) error {
	for _, typeURL := range []string{resource.ClusterType, resource.EndpointType, resource.ListenerType, resource.RouteType} {
		req := &discoveryv3.DeltaDiscoveryRequest{Node: node, TypeUrl: typeURL, InitialResourceVersions: s.have[typeURL],
			ResourceNamesSubscribe: slices.Sorted(maps.Keys(s.asked[typeURL]))}
		node = nil
		if err := st.Send(req); err != nil {
			return err
		}
	}
	return nil
}

func (s *stream) runWorld(ctx context.Context, client discoveryv3.AggregatedDiscoveryServiceClient, node *corev3.Node) error {
	st, err := client.StreamAggregatedResources(ctx, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	version := map[string]string{}
	s.send = func(typeURL, nonce string, _ []string, refused *status.Status) error {
		var all []string
		for name := range s.asked[typeURL] {
			all = append(all, name)
		}
		slices.Sort(all)
		req := &discoveryv3.DiscoveryRequest{Node: node, TypeUrl: typeURL, ResponseNonce: s.nonce[typeURL], VersionInfo: version[typeURL], ResourceNames: all, ErrorDetail: refused}
		node = nil
		return st.Send(req)
	}
	if err := s.ask(resource.ClusterType, nil); err != nil {
		return err
	}
	for {
		r, err := st.Recv()
		if err != nil {
			return ended(err)
		}
		s.f.bytes.Add(int64(proto.Size(r)))
		version[r.GetTypeUrl()] = r.GetVersionInfo()
		named := make([]named, len(r.GetResources()))
		for i, res := range r.GetResources() {
			named[i].name, named[i].body = worldName(res), res.GetValue()
		}
		if err := s.took(r.GetTypeUrl(), r.GetNonce(), named, nil); err != nil {
			return err
		}
	}
}

func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the control plane ended the stream")
	}
	return err
}

// worldName reads a resource's own name.
func worldName(a *anypb.Any) string {
	switch a.GetTypeUrl() {
	case resource.EndpointType, resource.RouteType, resource.ListenerType, resource.ClusterType:
		return firstString(a.GetValue()) // the name is field 1 of all four
	}
	return ""
}

type named struct {
	name, version string
	body          []byte
}

// ask follows more names, or all of a type at the first time.
func (s *stream) ask(typeURL string, names []string) error {
	set, again := s.asked[typeURL]
	if !again {
		set = map[string]bool{}
		s.asked[typeURL] = set
	}
	var more []string
	for _, n := range names {
		if !set[n] {
			set[n] = true
			more = append(more, n)
		}
	}
	if again && len(more) == 0 {
		return nil
	}
	return s.send(typeURL, "", more, nil)
}

// took notes a response, acknowledges it and asks for what it refers to.
func (s *stream) took(typeURL, nonce string, rs []named, gone []string) error {
	s.nonce[typeURL] = nonce
	have := s.have[typeURL]
	if have == nil {
		have = map[string]string{}
		s.have[typeURL] = have
	}
	look := s.f.look.Load()
	var refs []string
	for _, r := range rs {
		have[r.name] = r.version
		refs = append(refs, s.f.refs.of(typeURL, r.body)...)
		if look != nil && look != s.seen && look.typeURL == typeURL && bytes.Contains(r.body, look.text) {
			s.seen = look
			look.found <- s.n
		}
	}
	for _, name := range gone {
		delete(have, name)
	}
	if err := s.send(typeURL, nonce, nil, s.verdict()); err != nil {
		return err
	}
	var err error
	switch typeURL {
	case resource.ClusterType:
		if len(refs) > 0 {
			err = s.ask(resource.EndpointType, refs)
		}
		if err == nil {
			err = s.ask(resource.ListenerType, nil)
		}
	case resource.ListenerType:
		if len(refs) > 0 {
			err = s.ask(resource.RouteType, refs)
		}
	}
	if !s.full && s.complete() {
		s.full = true
		s.f.full <- s.n
	}
	return err
}

// verdict is nil, or what one in five says of everything in a storm of
// refusals.
func (s *stream) verdict() *status.Status {
	if s.f.storm.Load() && s.n%5 == 0 {
		return &status.Status{Code: int32(codes.InvalidArgument), Message: "refused for the sake of it"}
	}
	return nil
}

// complete tells whether the proxy could serve: it has as many listeners as
// its dataplane wants, and everything that clusters and listeners refer to.
func (s *stream) complete() bool {
	if len(s.have[resource.ListenerType]) < s.f.listeners() {
		return false
	}
	for _, t := range []string{resource.EndpointType, resource.RouteType} {
		for name := range s.asked[t] {
			if _, ok := s.have[t][name]; !ok {
				return false
			}
		}
	}
	return true
}

// listeners are those that a proxy has: one inbound and its outbounds.
func (f *fleet) listeners() int {
	if f.c.Transparent {
		return 1 + 2*f.c.Services + 4 // services have an address in each family, and capture two listeners in each
	}
	return 1 + f.c.Outbounds
}

// await waits until as many streams have everything.
func (f *fleet) await(ctx context.Context, n int, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for i := range n {
		select {
		case <-f.full:
		case err := <-f.broke:
			return err
		case <-ctx.Done():
			return fmt.Errorf("%d of %d streams have everything after %s: %w", i, n, within, ctx.Err())
		}
	}
	return nil
}
