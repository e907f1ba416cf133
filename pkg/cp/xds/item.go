package xds

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/pkg/envoy/render"
)

// An item is one resource in the form in which it goes out. It never changes,
// and everybody who is sent the same resource is sent the same item.
type item struct {
	name    string
	version string // of its content
	// endpoints is the assignment that a cluster takes its endpoints from; ""
	// for everything else.
	endpoints string
	// delta is a whole field of a delta response: tag, length and the message
	// Resource. Its last field is the resource itself, and the bytes of that
	// are a whole field of a response of the state of the world, as both
	// messages give it number 2.
	delta, world []byte
}

// Field numbers of envoy/service/discovery/v3/discovery.proto.
const (
	responseResources = 2 // of both kinds of response
	resourceVersion   = 1
	resourceResource  = 2
	resourceName      = 3
	anyTypeURL        = 1
	anyValue          = 2
)

func newItem(typeURL, name string, body []byte, sum [sha256.Size]byte) *item {
	it := &item{name: name, version: hex.EncodeToString(sum[:8])}
	packed := protowire.SizeTag(anyTypeURL) + protowire.SizeBytes(len(typeURL)) + protowire.SizeTag(anyValue) + protowire.SizeBytes(len(body))
	front := protowire.SizeTag(resourceVersion) + protowire.SizeBytes(len(it.version)) + protowire.SizeTag(resourceName) + protowire.SizeBytes(len(name))
	world := protowire.SizeTag(resourceResource) + protowire.SizeBytes(packed)

	b := make([]byte, 0, protowire.SizeTag(responseResources)+protowire.SizeBytes(front+world))
	b = protowire.AppendTag(b, responseResources, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(front+world))
	b = appendString(b, resourceVersion, it.version)
	b = appendString(b, resourceName, name)
	begin := len(b)
	b = protowire.AppendTag(b, resourceResource, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(packed))
	b = appendString(b, anyTypeURL, typeURL)
	b = protowire.AppendTag(b, anyValue, protowire.BytesType)
	b = protowire.AppendBytes(b, body)
	it.delta, it.world = b, b[begin:]
	return it
}

func appendString(b []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

// A stock knows the items that are in use, so that equal resources of many
// proxies are one, and the parts of plans that they were rendered of.
type stock struct {
	items shelf[item]
	parts shelf[part]
}

func newStock() *stock { return &stock{} }

// encode makes the item of a resource, or finds it.
func (s *stock) encode(typeURL string, r render.Resource) (*item, error) {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(r.Message)
	if err != nil {
		return nil, fmt.Errorf("encode %q: %w", r.Name, err)
	}
	h := sha256.New()
	for _, part := range []string{typeURL, "\x00", r.Name, "\x00"} {
		h.Write([]byte(part))
	}
	h.Write(body)
	sum := [sha256.Size]byte(h.Sum(nil))
	if it := s.items.find(sum); it != nil {
		return it, nil
	}
	it := newItem(typeURL, r.Name, body, sum)
	if c, ok := r.Message.(*clusterv3.Cluster); ok && c.GetType() == clusterv3.Cluster_EDS {
		it.endpoints = endpointsName(c)
	}
	return s.items.keep(sum, it), nil
}

func (s *stock) encodeAll(typeURL string, rs []render.Resource) ([]*item, error) {
	out := make([]*item, 0, len(rs))
	for _, r := range rs {
		it, err := s.encode(typeURL, r)
		if err != nil {
			return nil, err
		}
		out = append(out, it)
	}
	return out, nil
}

// endpointsName is the assignment that a cluster asks for.
func endpointsName(c *clusterv3.Cluster) string {
	if n := c.GetEdsClusterConfig().GetServiceName(); n != "" {
		return n
	}
	return c.GetName()
}
