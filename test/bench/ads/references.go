//go:build linux

package main

import (
	"crypto/sha256"
	"sync"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// A referenceCache remembers what resources refer to, as many proxies have the
// same ones.
type referenceCache struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte][]string
}

// of are the assignments that a cluster has, the routes that a listener names.
func (c *referenceCache) of(typeURL string, body []byte) []string {
	if typeURL != resource.ClusterType && typeURL != resource.ListenerType {
		return nil
	}
	sum := sha256.Sum256(body)
	c.mu.Lock()
	refs, ok := c.known[sum]
	c.mu.Unlock()
	if ok {
		return refs
	}
	if typeURL == resource.ClusterType {
		refs = assignmentOf(body)
	} else {
		refs = routesOf(body)
	}
	c.mu.Lock()
	c.known[sum] = refs
	c.mu.Unlock()
	return refs
}

func assignmentOf(body []byte) []string {
	var c clusterv3.Cluster
	if proto.Unmarshal(body, &c) != nil || c.GetType() != clusterv3.Cluster_EDS {
		return nil
	}
	if n := c.GetEdsClusterConfig().GetServiceName(); n != "" {
		return []string{n}
	}
	return []string{c.GetName()}
}

func routesOf(body []byte) (names []string) {
	var l listenerv3.Listener
	if proto.Unmarshal(body, &l) != nil {
		return nil
	}
	for _, chain := range l.GetFilterChains() {
		for _, filter := range chain.GetFilters() {
			var h hcmv3.HttpConnectionManager
			if a := filter.GetTypedConfig(); a.MessageIs(&h) && a.UnmarshalTo(&h) == nil {
				if rds := h.GetRds(); rds != nil {
					names = append(names, rds.GetRouteConfigName())
				}
			}
		}
	}
	return names
}

// firstString reads field 1, where it stands first.
func firstString(b []byte) string {
	num, typ, n := protowire.ConsumeTag(b)
	if n < 0 || num != 1 || typ != protowire.BytesType {
		return ""
	}
	text, n := protowire.ConsumeString(b[n:])
	if n < 0 {
		return ""
	}
	return text
}
