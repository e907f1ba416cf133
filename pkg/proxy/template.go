package proxy

// A Template changes what a proxy is told, in the proxy's own words. A plan
// carries these words unread: only the package that speaks them knows what they
// mean.
type Template struct {
	From Origin `json:"from"`
	// Bare leaves out all that follows from the mesh: the proxy is told only
	// what stands here.
	Bare          bool           `json:"bare,omitempty"`
	Resources     []Raw          `json:"resources,omitempty"`
	Modifications []Modification `json:"modifications,omitempty"`
}

// A Raw is one whole resource of the proxy's, as YAML.
type Raw struct {
	Part string `json:"part"` // where it is written, for people: conf.resources[0]
	Name string `json:"name"`
	Text string `json:"text"`
}

// What a Modification is of.
const (
	OfCluster       = "cluster"
	OfListener      = "listener"
	OfNetworkFilter = "networkFilter"
	OfHTTPFilter    = "httpFilter"
	OfVirtualHost   = "virtualHost"
)

// What a Modification does.
const (
	Add       = "add"
	Remove    = "remove"
	Patch     = "patch"
	AddFirst  = "addFirst"
	AddBefore = "addBefore"
	AddAfter  = "addAfter"
	AddLast   = "addLast"
)

// A Modification is done to everything that it picks.
type Modification struct {
	Part string `json:"part"` // conf.modifications[0].cluster
	Of   string `json:"of"`
	Do   string `json:"do"`
	Pick Pick   `json:"pick,omitzero"`
	Text string `json:"text,omitempty"` // YAML
}

// A Pick picks parts of what a proxy is told. What is empty picks everything.
type Pick struct {
	Origin   string            `json:"origin,omitempty"` // inbound, outbound, transparent, …
	Name     string            `json:"name,omitempty"`   // of what Modification.Of says
	Listener string            `json:"listener,omitempty"`
	Tags     map[string]string `json:"tags,omitempty"`   // of the listener; "*" is any value
	Routes   string            `json:"routes,omitempty"` // name of a route configuration
}
