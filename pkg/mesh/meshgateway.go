package mesh

// A MeshGateway says at which ports the gateways that its selectors pick take
// traffic from outside.
type MeshGateway struct {
	Selectors []Selector       `json:"selectors,omitempty"`
	Tags      Tags             `json:"tags,omitempty"` // of all listeners
	Conf      *MeshGatewayConf `json:"conf,omitempty"`
}

// MeshGatewayConf is what it listens for.
type MeshGatewayConf struct {
	Listeners []GatewayListener `json:"listeners,omitempty"`
}

// A GatewayListener is one host name at one port.
type GatewayListener struct {
	Hostname  string            `json:"hostname,omitempty"` // "*.example.com"; none: all
	Port      uint32            `json:"port,omitempty"`
	Protocol  string            `json:"protocol,omitempty"` // HTTP, HTTPS, TCP, TLS
	TLS       *GatewayTLS       `json:"tls,omitempty"`
	Tags      Tags              `json:"tags,omitempty"`      // what routes select it by
	CrossMesh bool              `json:"crossMesh,omitempty"` // for callers of other meshes
	Resources *GatewayResources `json:"resources,omitempty"`
}

// GatewayTLS is how TLS is taken.
type GatewayTLS struct {
	Mode         string       `json:"mode,omitempty"`         // TERMINATE, PASSTHROUGH
	Certificates []DataSource `json:"certificates,omitempty"` // one, or two of different keys
	Options      *struct{}    `json:"options,omitempty"`
}

// GatewayResources bound what a listener takes.
type GatewayResources struct {
	ConnectionLimit uint32 `json:"connectionLimit,omitempty"` // connections at once
}

// Validate tells everything that is wrong with it.
func (s *MeshGateway) Validate() (v Violations) { return nil }
