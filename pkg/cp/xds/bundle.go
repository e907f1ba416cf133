package xds

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"slices"

	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"

	"github.com/weft-mesh/weft/pkg/envoy/render"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// A Bundle is what one proxy is given of its own, encoded. Parts that several
// proxies have alike are in memory once.
type Bundle struct {
	Version string // of the content
	// Warnings are what could not be rendered as it was planned.
	Warnings []proxy.Warning

	clusters, listeners, routes, secrets []*item
	assignments                          []string // that the clusters ask for, sorted
	parts                                []*part  // so that they stay in stock
}

// Encode makes the Bundle of a plan's parts, and of the secrets that it names.
// A part that some proxy has already is not rendered again. It fails where
// something cannot be rendered or encoded (text that is not UTF-8), and where
// two parts have one name for different things.
func (s *Server) Encode(parts []render.Part, secrets []render.Resource) (*Bundle, error) {
	out := &Bundle{parts: make([]*part, 0, len(parts))}
	var errs []error
	for _, from := range parts {
		p, err := s.stock.part(from)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out.parts = append(out.parts, p)
		out.Warnings = append(out.Warnings, p.warnings...)
		out.clusters = append(out.clusters, p.clusters...)
		out.listeners = append(out.listeners, p.listeners...)
		out.routes = append(out.routes, p.routes...)
	}
	for _, list := range []struct {
		kind  string
		items *[]*item
	}{{"cluster", &out.clusters}, {"listener", &out.listeners}, {"route", &out.routes}} {
		var err error
		if *list.items, err = sorted(list.kind, *list.items); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, it := range out.clusters {
		if it.endpoints != "" {
			names[it.endpoints] = true
		}
	}
	var err error
	if out.secrets, err = s.stock.encodeAll(resource.SecretType, secrets); err != nil {
		return nil, errors.New("secrets cannot be encoded") // its words might hold one
	}
	slices.SortFunc(out.secrets, func(a, b *item) int { return cmp.Compare(a.name, b.name) })
	out.assignments = slices.Sorted(maps.Keys(names))
	out.Version = versionOf(out.clusters, out.listeners, out.routes, out.secrets)
	return out, nil
}

// sorted sorts items by name. Two of one name must be equal, and become one.
func sorted(kind string, items []*item) ([]*item, error) {
	slices.SortStableFunc(items, func(a, b *item) int { return cmp.Compare(a.name, b.name) })
	var errs []error
	return slices.CompactFunc(items, func(a, b *item) bool {
		if a.name == b.name && a != b {
			errs = append(errs, render.Twice(kind, a.name))
		}
		return a.name == b.name
	}), errors.Join(errs...)
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
