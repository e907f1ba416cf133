package mesh

// What a dataplane or a service is.
const (
	Online            = "online"
	Offline           = "offline"
	PartiallyDegraded = "partially_degraded"
)

// Status tells how a dataplane fares: as a gateway by its connection alone, else
// by how many of its inbounds are ready, too.
func (s *Dataplane) Status(connected bool) string {
	if !connected {
		return Offline
	}
	ready := 0
	for i := range s.Networking.Inbound {
		if s.Ready(i) {
			ready++
		}
	}
	switch n := len(s.Networking.Inbound); {
	case s.Networking.Gateway != nil || ready == n:
		return Online
	case ready == 0:
		return Offline
	default:
		return PartiallyDegraded
	}
}

// Total is how many there are.
type Total struct {
	Total uint32 `json:"total"`
}

// OnlineTotal is how many there are, and how many of them are connected.
type OnlineTotal struct {
	Total   uint32 `json:"total,omitempty"`
	Online  uint32 `json:"online,omitempty"`
	Offline uint32 `json:"offline,omitempty"`
}

// DataplaneCount counts proxies by how they fare.
type DataplaneCount struct {
	Total             uint32 `json:"total,omitempty"`
	Online            uint32 `json:"online,omitempty"`
	Offline           uint32 `json:"offline,omitempty"`
	PartiallyDegraded uint32 `json:"partiallyDegraded,omitempty"` // some of their inbounds are not ready
}

// A MeshInsight counts what is in a mesh.
type MeshInsight struct {
	Dataplanes       DataplaneCount   `json:"dataplanes"`
	DataplanesByType DataplanesByType `json:"dataplanesByType"`
	Policies         map[string]Total `json:"policies,omitempty"`  // by type
	Resources        map[string]Total `json:"resources,omitempty"` // by type
	DPVersions       DPVersions       `json:"dpVersions"`
	MTLS             MTLSCount        `json:"mTLS"`
	Services         ServiceCount     `json:"services"`
}

// DataplanesByType are counts by what a proxy is for.
type DataplanesByType struct {
	Standard         DataplaneCount `json:"standard"`
	Gateway          DataplaneCount `json:"gateway"`
	GatewayBuiltin   DataplaneCount `json:"gatewayBuiltin"`
	GatewayDelegated DataplaneCount `json:"gatewayDelegated"`
}

// DPVersions are counts by version.
type DPVersions struct {
	KumaDP map[string]DataplaneCount `json:"kumaDp,omitempty"` // of the agent
	Envoy  map[string]DataplaneCount `json:"envoy,omitempty"`
}

// MTLSCount counts by the authority that a proxy's certificate is of, and by
// those that it believes.
type MTLSCount struct {
	IssuedBackends    map[string]DataplaneCount `json:"issuedBackends,omitempty"`
	SupportedBackends map[string]DataplaneCount `json:"supportedBackends,omitempty"`
}

// ServiceCount counts services.
type ServiceCount struct {
	Total    uint32 `json:"total,omitempty"`
	Internal uint32 `json:"internal,omitempty"`
	External uint32 `json:"external,omitempty"`
}

// A ServiceInsight tells how those fare that serve one service.
type ServiceInsight struct {
	Status         string            `json:"status,omitempty"` // online, offline, partially_degraded, not_available
	Dataplanes     OnlineTotal       `json:"dataplanes"`
	IssuedBackends map[string]uint32 `json:"issuedBackends,omitempty"` // proxies by the authority of their certificate
	ServiceType    string            `json:"serviceType,omitempty"`    // internal, external, gateway_delegated, gateway_builtin
	AddressPort    string            `json:"addressPort,omitempty"`    // where the mesh's workloads call it
	Zones          []string          `json:"zones,omitempty"`
}

// Validate accepts it: nobody writes one.
func (s *MeshInsight) Validate() (v Violations) { return nil }

// Validate accepts it: nobody writes one.
func (s *ServiceInsight) Validate() (v Violations) { return nil }
