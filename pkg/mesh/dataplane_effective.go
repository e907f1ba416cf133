package mesh

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// The states of an Inbound.
const (
	StateReady    = "Ready"
	StateNotReady = "NotReady"
	StateIgnored  = "Ignored"
)

// The types of a Gateway.
const (
	Delegated = "DELEGATED"
	Builtin   = "BUILTIN"
)

// Services returns what the dataplane is known as, each once, sorted.
func (s *Dataplane) Services() []string {
	var names []string
	add := func(t Tags) {
		if n := t.Service(); n != "" {
			names = append(names, n)
		}
	}
	for i := range s.Networking.Inbound {
		add(s.Networking.Inbound[i].Tags)
	}
	if s.Networking.Gateway != nil {
		add(s.Networking.Gateway.Tags)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// TagSets are the tags of each inbound and of the gateway: a selector matches
// the dataplane where it matches one of them.
func (s *Dataplane) TagSets() (sets []Tags) {
	for i := range s.Networking.Inbound {
		sets = append(sets, s.Networking.Inbound[i].Tags)
	}
	if g := s.Networking.Gateway; g != nil {
		sets = append(sets, g.Tags)
	}
	return sets
}

// Zone is where the dataplane is, "" where it does not say.
func (s *Dataplane) Zone() string {
	for i := range s.Networking.Inbound {
		if z := s.Networking.Inbound[i].Tags[ZoneTag]; z != "" {
			return z
		}
	}
	if s.Networking.Gateway != nil {
		return s.Networking.Gateway.Tags[ZoneTag]
	}
	return ""
}

// AdvertisedAddress is what other dataplanes call: an IP address or DNS name.
func (s *Dataplane) AdvertisedAddress() string {
	return cmp.Or(s.Networking.AdvertisedAddress, s.Networking.Address)
}

// InboundName is the name of inbound i, its port unless its author named it.
func (s *Dataplane) InboundName(i int) string {
	in := &s.Networking.Inbound[i]
	return cmp.Or(in.Name, strconv.FormatUint(uint64(in.Port), 10))
}

// InboundAddress is where the proxy listens for inbound i.
func (s *Dataplane) InboundAddress(i int) string {
	return cmp.Or(s.Networking.Inbound[i].Address, s.Networking.Address)
}

// ServiceAddress is where the workload of inbound i listens.
func (s *Dataplane) ServiceAddress(i int) string {
	return cmp.Or(s.Networking.Inbound[i].ServiceAddress, s.InboundAddress(i))
}

// ServicePort is the port at which the workload of inbound i listens.
func (s *Dataplane) ServicePort(i int) uint32 {
	in := &s.Networking.Inbound[i]
	return cmp.Or(in.ServicePort, in.Port)
}

// Protocol is what inbound i speaks, in lower case.
func (s *Dataplane) Protocol(i int) string {
	in := &s.Networking.Inbound[i]
	return strings.ToLower(cmp.Or(in.Protocol, in.Tags[ProtocolTag], "tcp"))
}

// Ready tells whether inbound i wants calls.
func (s *Dataplane) Ready(i int) bool {
	in := &s.Networking.Inbound[i]
	if in.State != "" {
		return in.State == StateReady
	}
	return in.Health == nil || in.Health.Ready
}

// Ignored tells whether inbound i has a listener but is nobody's endpoint.
func (s *Dataplane) Ignored(i int) bool { return s.Networking.Inbound[i].State == StateIgnored }
