package mesh

import "encoding/json"

// A MeshProxyPatch changes what the proxies that it chooses are told, in the
// proxy's own words.
type MeshProxyPatch struct {
	Spec Whole[MeshProxyPatchConf] `json:"spec"`
}

// A MeshProxyPatchConf is what changes, in this order.
type MeshProxyPatchConf struct {
	AppendModifications []ProxyPatch `json:"appendModifications,omitempty"`
}

// A ProxyPatch changes resources of one concept: exactly one of its fields is
// set.
type ProxyPatch struct {
	Cluster       *ClusterPatch     `json:"cluster,omitempty"`
	Listener      *ListenerPatch    `json:"listener,omitempty"`
	NetworkFilter *FilterPatch      `json:"networkFilter,omitempty"`
	HTTPFilter    *FilterPatch      `json:"httpFilter,omitempty"`
	VirtualHost   *VirtualHostPatch `json:"virtualHost,omitempty"`
}

// A ClusterPatch adds a cluster, or removes or patches those that match.
type ClusterPatch struct {
	Operation   string        `json:"operation,omitempty"` // Add, Remove, Patch
	Match       *ClusterMatch `json:"match,omitempty"`     // nil: all
	Value       string        `json:"value,omitempty"`     // YAML
	JSONPatches []JSONPatch   `json:"jsonPatches,omitempty"`
}

// A ListenerPatch adds a listener, or removes or patches those that match.
type ListenerPatch struct {
	Operation   string         `json:"operation,omitempty"`
	Match       *ListenerMatch `json:"match,omitempty"`
	Value       string         `json:"value,omitempty"`
	JSONPatches []JSONPatch    `json:"jsonPatches,omitempty"`
}

// A FilterPatch adds a filter to the listeners that match, or removes or
// patches filters.
type FilterPatch struct {
	Operation   string       `json:"operation,omitempty"` // Remove, Patch, AddFirst, AddBefore, AddAfter, AddLast
	Match       *FilterMatch `json:"match,omitempty"`
	Value       string       `json:"value,omitempty"`
	JSONPatches []JSONPatch  `json:"jsonPatches,omitempty"`
}

// A VirtualHostPatch adds a virtual host, or removes or patches those that
// match.
type VirtualHostPatch struct {
	Operation   string            `json:"operation,omitempty"`
	Match       *VirtualHostMatch `json:"match,omitempty"`
	Value       string            `json:"value,omitempty"`
	JSONPatches []JSONPatch       `json:"jsonPatches,omitempty"`
}

// A JSONPatch is one operation of RFC 6902 on the resource as JSON.
type JSONPatch struct {
	Op    string          `json:"op,omitempty"`   // add, remove, replace, move, copy
	Path  string          `json:"path,omitempty"` // a JSON pointer
	From  string          `json:"from,omitempty"` // for move and copy
	Value json.RawMessage `json:"value,omitempty"`
}
