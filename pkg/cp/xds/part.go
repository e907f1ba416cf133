package xds

import (
	"crypto/sha256"
	"fmt"

	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"

	"github.com/weft-mesh/weft/pkg/envoy/render"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// A part is what became of a piece of a plan. It never changes, and equal
// pieces of many proxies are the same part as long as one of them has it.
type part struct {
	clusters, listeners, routes []*item
	warnings                    []proxy.Warning
}

// part renders and encodes a piece, or finds it.
func (s *stock) part(from render.Part) (*part, error) {
	shared := from.Key != [sha256.Size]byte{}
	if shared {
		if p := s.parts.find(from.Key); p != nil {
			return p, nil
		}
	}
	b, err := from.Render()
	if err != nil {
		return nil, err
	}
	p := &part{warnings: b.Warnings}
	for _, list := range []struct {
		typeURL string
		from    []render.Resource
		to      *[]*item
	}{
		{resource.ClusterType, b.Clusters, &p.clusters},
		{resource.ListenerType, b.Listeners, &p.listeners},
		{resource.RouteType, b.Routes, &p.routes},
	} {
		if *list.to, err = s.encodeAll(list.typeURL, list.from); err != nil {
			return nil, fmt.Errorf("%s: %w", words[list.typeURL], err)
		}
	}
	if shared {
		p = s.parts.keep(from.Key, p)
	}
	return p, nil
}
