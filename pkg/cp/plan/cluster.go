package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// ownMarks are what the names of a proxy's own clusters hold: "localhost:8080",
// "outbound:passthrough:ipv4", "weft_sds".
var ownMarks = []string{":", "weft_"}

// callable tells whether a service may have a cluster of its name. Otherwise a
// service by the name of an own cluster would take its place: one called
// "weft_sds" would be answered by the agent, out of the host's private keys.
func callable(service string) bool {
	return !slices.ContainsFunc(ownMarks, func(m string) bool { return strings.Contains(service, m) })
}

// Cluster names the cluster of what carries all of tags: the service, and
// where more tags than the service's are asked for a hash of all of them, so
// that equal wishes share endpoints. No two wishes may share a name: every
// dataplane of the mesh may wish, and one's endpoints would be the other's.
// "=" and "," stand in no tag.
func Cluster(tags mesh.Tags) string {
	if len(tags) == 1 {
		return tags.Service()
	}
	h := sha256.New()
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		h.Write([]byte(k + "=" + tags[k] + ","))
	}
	return tags.Service() + "-" + hex.EncodeToString(h.Sum(nil)[:8])
}

// cluster plans the cluster of what carries all of tags, once for all routes
// that lead to it. It is not ok where another part of the mesh has its name.
func (p *planner) cluster(tags mesh.Tags, protocol string) (name string, ok bool) {
	if !callable(tags.Service()) {
		return "", false
	}
	name = Cluster(tags)
	if c := p.clusters[name]; c != nil {
		return name, maps.Equal(c.tags, tags)
	}
	c := &cluster{tags: tags, Cluster: proxy.Cluster{
		Name:    name,
		Service: tags.Service(),
		// The far end is a proxy too, and takes HTTP/2 whatever its workload
		// speaks.
		HTTP2: proxy.IsHTTP(protocol),
	}}
	if of := p.outside(tags.Service()); of != nil {
		c.External = p.external(of, tags)
		// A server outside is what it says: nothing there changes protocols.
		protocol = p.protocol(tags.Service())
		c.HTTP2 = protocol == proxy.HTTP2 || protocol == proxy.GRPC
	} else {
		p.inside(&c.Cluster, tags)
	}
	p.clusterTimeouts(&c.Cluster)
	p.healthCheck(&c.Cluster, protocol)
	p.circuitBreaker(&c.Cluster)
	p.clusters[name] = c
	return name, true
}

// inside plans how members in the mesh are found, and known.
func (p *planner) inside(c *proxy.Cluster, tags mesh.Tags) {
	if zone := p.ownZone(); zone != "" {
		c.Endpoints = proxy.EndpointsName(c.Name, zone)
	}
	// In a PERMISSIVE mesh some endpoints may have no certificate yet, and
	// nothing tells us which: outbounds stay plain, which every one takes.
	if p.mode() == proxy.Strict {
		c.TLS = &proxy.PeerTLS{
			PeerURI: mesh.ServiceURI(p.view.Name(), tags.Service()),
			SNI:     sni(p.view.Name(), tags),
		}
	}
}

// A cluster is one that some route leads to, and what was asked for.
type cluster struct {
	proxy.Cluster
	tags        mesh.Tags
	ownBalancer bool // a route by which the service itself is called has named one
}

// allClusters are the clusters planned so far, sorted by name.
func (p *planner) allClusters() (list []proxy.Cluster) {
	for _, name := range slices.Sorted(maps.Keys(p.clusters)) {
		list = append(list, p.clusters[name].Cluster)
	}
	return list
}

// sni names a service and what is asked of it: `api{mesh=default,version=v1}`.
func sni(meshName string, tags mesh.Tags) string {
	asked := maps.Clone(tags)
	delete(asked, mesh.ServiceTag)
	asked["mesh"] = meshName
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(asked)) {
		parts = append(parts, k+"="+asked[k])
	}
	return tags.Service() + "{" + strings.Join(parts, ",") + "}"
}
