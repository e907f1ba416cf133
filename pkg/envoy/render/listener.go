package render

import (
	"errors"
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// inbound renders one port of the workload: listener and local cluster.
func (r *renderer) inbound(in proxy.Inbound) {
	if !in.Listen.IsValid() || !in.Workload.IsValid() {
		r.fail("inbound %q: needs an address to listen at and one of its workload", in.Name)
		return
	}
	name := listenerName("inbound", in.Listen)
	l := newListener(name, in.Listen, corev3.TrafficDirection_INBOUND)
	l.Metadata = tagMetadata(in.Tags)
	l.BindToPort = wrapperspb.Bool(r.cfg.Transparent == nil || r.cfg.Transparent.InboundPort == 0)
	if err := r.inboundChains(l, in, r.localCluster(in)); err != nil {
		r.fail("inbound %q: %w", in.Name, err)
		return
	}
	r.listener(name, l)
}

// outbound renders one service that the workload calls: a listener for each
// address at which the workload knows it, and its routes.
func (r *renderer) outbound(out proxy.Outbound) {
	chain := r.outboundChain(out)
	for _, at := range out.Listen {
		if !at.IsValid() {
			r.fail("outbound %q: listens at no valid address", out.Name)
			continue
		}
		name := listenerName("outbound", at)
		l := newListener(name, at, corev3.TrafficDirection_OUTBOUND)
		// What redirection brings arrives at the capture listener; loopback
		// it leaves alone.
		l.BindToPort = wrapperspb.Bool(r.cfg.Transparent == nil || at.Addr().IsLoopback())
		l.Metadata = tagMetadata(out.Tags)
		l.FilterChains = []*listenerv3.FilterChain{chain}
		r.listener(name, l)
	}
}

func newListener(name string, at netip.AddrPort, direction corev3.TrafficDirection) *listenerv3.Listener {
	return &listenerv3.Listener{
		Name:             name,
		Address:          address(at),
		TrafficDirection: direction,
		// With SO_REUSEPORT a second proxy of this host would take half of the
		// connections instead of failing to bind.
		EnableReusePort: wrapperspb.Bool(false),
	}
}

// tagsMetadata is where listeners have the tags of what they are for.
const tagsMetadata = "io.kuma.tags"

// tagMetadata puts tags where rules that match listeners by tag
// look for them.
func tagMetadata(tags map[string]string) *corev3.Metadata {
	if len(tags) == 0 {
		return nil
	}
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{tagsMetadata: tagStruct(tags)}}
}

func tagStruct(tags map[string]string) *structpb.Struct {
	s := &structpb.Struct{Fields: make(map[string]*structpb.Value, len(tags))}
	for k, v := range tags {
		s.Fields[k] = structpb.NewStringValue(v)
	}
	return s
}

func (r *renderer) filter(name string, config proto.Message) *listenerv3.Filter {
	return &listenerv3.Filter{
		Name:       name,
		ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: r.any(config)},
	}
}

var errNoIdentity = errors.New("is planned with mTLS, but the proxy has no identity")
