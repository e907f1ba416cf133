package snapshot

import (
	"cmp"
	"maps"
	"math"
	"net/netip"
	"slices"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// A share is what one dataplane has to do with one service.
type share struct {
	speaks  []string    // the protocol of each of its inbounds that is not Ignored
	members []Instance  // those of them that are Ready
	offers  []mesh.Tags // the tags of each that is not Ignored
	asks    []mesh.Tags // what its outbounds ask of the service
}

// A shareEdit replaces one dataplane's share in a service; nil is none.
type shareEdit struct {
	dataplane string
	old, now  *share
}

func (s *share) equal(t *share) bool {
	return t != nil && slices.Equal(s.speaks, t.speaks) && s.sameMembers(t) &&
		slices.EqualFunc(s.offers, t.offers, maps.Equal[mesh.Tags, mesh.Tags]) &&
		slices.EqualFunc(s.asks, t.asks, maps.Equal[mesh.Tags, mesh.Tags])
}

func (s *share) sameMembers(t *share) bool {
	return slices.EqualFunc(s.list(), t.list(), Instance.equal)
}

func (s *share) list() []Instance {
	if s == nil {
		return nil
	}
	return s.members
}

// shares returns what a dataplane has to do with each service.
func (m *Mesh) shares(dataplane string) map[string]*share {
	r := m.dataplanes.get(dataplane)
	if r == nil {
		return nil
	}
	dp := r.Spec.(*mesh.Dataplane)
	shares := map[string]*share{}
	of := func(service string) *share {
		s := shares[service]
		if s == nil {
			s = &share{}
			shares[service] = s
		}
		return s
	}
	for i, in := range dp.Networking.Inbound {
		if in.Tags.Service() == "" || dp.Ignored(i) || in.Port > math.MaxUint16 {
			continue
		}
		s := of(in.Tags.Service())
		s.speaks = append(s.speaks, known(dp.Protocol(i)))
		s.offers = append(s.offers, in.Tags)
		if dp.Ready(i) {
			s.members = append(s.members, m.instance(r.Meta.Name, dp, i))
		}
	}
	for _, out := range dp.Networking.Outbound {
		if service := out.Tags.Service(); service != "" {
			of(service).asks = append(of(service).asks, out.Tags)
		}
	}
	return shares
}

// instance is where others find inbound i.
func (m *Mesh) instance(name string, dp *mesh.Dataplane, i int) Instance {
	in := dp.Networking.Inbound[i]
	host := cmp.Or(dp.Networking.AdvertisedAddress, dp.InboundAddress(i))
	return Instance{
		Dataplane: name,
		Host:      host,
		Address:   netip.AddrPortFrom(m.Host(host), uint16(in.Port)),
		Tags:      in.Tags,
	}
}
