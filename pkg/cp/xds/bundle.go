package xds

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"

	"github.com/weft-mesh/weft/pkg/envoy/render"
)

// A Bundle is what one proxy is given of its own, encoded. Parts that several
// proxies have alike are in memory once.
type Bundle struct {
	Version string // of the content

	clusters, listeners, routes, secrets []*item
	assignments                          []string // that the clusters ask for, sorted
}

// Encode makes the Bundle of what was rendered. It fails where something
// cannot be encoded (text that is not UTF-8).
func (s *Server) Encode(b *render.Bundle) (*Bundle, error) {
	out := &Bundle{}
	for _, part := range []struct {
		typeURL string
		from    []render.Resource
		to      *[]*item
	}{
		{resource.ClusterType, b.Clusters, &out.clusters},
		{resource.ListenerType, b.Listeners, &out.listeners},
		{resource.RouteType, b.Routes, &out.routes},
	} {
		items, err := s.stock.encodeAll(part.typeURL, part.from)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", words[part.typeURL], err)
		}
		*part.to = items
	}
	names := map[string]bool{}
	for _, it := range out.clusters {
		if it.endpoints != "" {
			names[it.endpoints] = true
		}
	}
	secrets, err := s.stock.encodeAll(resource.SecretType, b.Secrets)
	if err != nil {
		return nil, errors.New("secrets cannot be encoded") // its words might hold one
	}
	out.secrets = secrets
	out.assignments = slices.Sorted(maps.Keys(names))
	out.Version = versionOf(out.clusters, out.listeners, out.routes, out.secrets)
	return out, nil
}

// versionOf hashes the names and versions of items, in their order.
func versionOf(lists ...[]*item) string {
	h := sha256.New()
	for _, items := range lists {
		for _, it := range items {
			h.Write([]byte(it.name + "\x00" + it.version + "\x00"))
		}
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
