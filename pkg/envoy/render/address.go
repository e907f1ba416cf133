package render

import (
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func address(at netip.AddrPort) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address:       at.Addr().String(),
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(at.Port())},
	}}}
}

func prefix(p netip.Prefix) *corev3.CidrRange {
	return &corev3.CidrRange{AddressPrefix: p.Addr().String(), PrefixLen: wrapperspb.UInt32(uint32(p.Bits()))}
}

// From Linux's asm-generic/socket.h.
const (
	solSocket = 1
	soMark    = 36
)

// marked makes a cluster's connections carry mark, where the host's traffic is
// redirected: that is how redirection leaves them alone.
func (r *renderer) marked(mark uint32) *corev3.BindConfig {
	if r.cfg.Transparent == nil {
		return nil
	}
	return &corev3.BindConfig{SocketOptions: []*corev3.SocketOption{{
		Description: "SO_MARK",
		Level:       solSocket,
		Name:        soMark,
		Value:       &corev3.SocketOption_IntValue{IntValue: int64(mark)},
		State:       corev3.SocketOption_STATE_PREBIND,
	}}}
}
