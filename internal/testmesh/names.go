//go:build linux

package testmesh

import (
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/weft-mesh/weft/internal/testnet"
)

// ServeNames answers DNS by UDP on a host until the test ends: each of names
// has one IPv4 address, all others do not exist.
func ServeNames(t testing.TB, h *testnet.Host, names map[string]netip.Addr) {
	t.Helper()
	c := h.ListenUDP(t, "0.0.0.0:53")
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			if reply := answerName(b[:n], names); reply != nil {
				_, _ = c.WriteToUDPAddrPort(reply, from)
			}
		}
	}()
}

func answerName(query []byte, names map[string]netip.Addr) []byte {
	var p dnsmessage.Parser
	head, err := p.Start(query)
	if err != nil {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	addr, known := names[strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))]
	reply := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: head.ID, Response: true, RecursionDesired: head.RecursionDesired, RecursionAvailable: true},
		Questions: []dnsmessage.Question{q},
	}
	switch {
	case !known:
		reply.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		reply.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1},
			Body:   &dnsmessage.AResource{A: addr.As4()},
		}}
	}
	out, err := reply.Pack()
	if err != nil {
		return nil
	}
	return out
}
