package mesh

import (
	"cmp"
	"slices"
	"strings"
)

// ServiceURI is the SPIFFE id of a service of a mesh.
func ServiceURI(mesh, service string) string { return "spiffe://" + mesh + "/" + service }

// TagURI is how a certificate shows one value of a tag.
func TagURI(tag, value string) string { return "kuma://" + tag + "/" + value }

// Identities are the URIs of the dataplane's certificate: one for each service
// and one for each value of each tag, on its inbounds and its gateway. The
// services come first: theirs are the names that peers are asked for.
func (d *Dataplane) Identities(mesh string) []string {
	var uris []string
	add := func(tags Tags) {
		for tag, value := range tags {
			if value == "" {
				continue
			}
			if tag == ServiceTag {
				uris = append(uris, ServiceURI(mesh, value))
			}
			uris = append(uris, TagURI(tag, value))
		}
	}
	if g := d.Networking.Gateway; g != nil {
		add(g.Tags)
	}
	for _, in := range d.Networking.Inbound {
		add(in.Tags)
	}
	kind := func(uri string) int {
		if strings.HasPrefix(uri, "spiffe:") {
			return 0
		}
		return 1
	}
	slices.SortFunc(uris, func(a, b string) int {
		return cmp.Or(cmp.Compare(kind(a), kind(b)), strings.Compare(a, b))
	})
	return slices.Compact(uris)
}

// isSpiffeID tells whether s is the beginning of a SPIFFE id, with its trust
// domain.
func isSpiffeID(s string) bool {
	rest, ok := strings.CutPrefix(s, "spiffe://")
	domain, _, _ := strings.Cut(rest, "/")
	return ok && domain != ""
}
