package mesh

// A Dataplane is one workload's proxy on one host: where it listens for the
// workload, and what the workload is known as.
type Dataplane struct {
	Networking DataplaneNetworking `json:"networking"`
	// Metrics are merged over those of the mesh, see MeshSpec.Prometheus.
	Metrics *MetricsBackend `json:"metrics,omitempty"`
	Probes  *Probes         `json:"probes,omitempty"`
}

// DataplaneNetworking says at which addresses a dataplane is found.
type DataplaneNetworking struct {
	Address             string               `json:"address"`                     // IP or DNS name
	AdvertisedAddress   string               `json:"advertisedAddress,omitempty"` // what others dial; default Address
	Gateway             *Gateway             `json:"gateway,omitempty"`
	Inbound             []Inbound            `json:"inbound,omitempty"`
	Outbound            []Outbound           `json:"outbound,omitempty"`
	TransparentProxying *TransparentProxying `json:"transparentProxying,omitempty"`
	Admin               *DataplaneAdmin      `json:"admin,omitempty"`
	// Stored and given back; they take effect with zones.
	Listeners []Listener `json:"listeners,omitempty"`
}

// Gateway makes a dataplane one that takes traffic from outside of the mesh.
type Gateway struct {
	Type string `json:"type,omitempty"` // DELEGATED (default) or BUILTIN
	Tags Tags   `json:"tags,omitempty"`
}

// An Inbound is one port of the workload.
type Inbound struct {
	Name           string         `json:"name,omitempty"`           // default: the port
	Port           uint32         `json:"port"`                     // where the proxy listens
	Address        string         `json:"address,omitempty"`        // default networking.address
	ServicePort    uint32         `json:"servicePort,omitempty"`    // default Port
	ServiceAddress string         `json:"serviceAddress,omitempty"` // default Address
	Protocol       string         `json:"protocol,omitempty"`       // default: tag kuma.io/protocol, else tcp
	Tags           Tags           `json:"tags,omitempty"`
	State          string         `json:"state,omitempty"` // Ready (default), NotReady, Ignored
	Health         *InboundHealth `json:"health,omitempty"`
	// How the host's agent asks the workload; what agent.yaml says goes before it.
	ServiceProbe *ServiceProbe `json:"serviceProbe,omitempty"`
}

// InboundHealth is the older form of Inbound.State.
type InboundHealth struct {
	Ready bool `json:"ready,omitempty"`
}

// A ServiceProbe says how the control plane learns whether a workload is
// there. Durations are Go durations.
type ServiceProbe struct {
	Interval           string    `json:"interval,omitempty"`           // default 1s, at least 100ms
	Timeout            string    `json:"timeout,omitempty"`            // default 2s
	UnhealthyThreshold uint32    `json:"unhealthyThreshold,omitempty"` // failures in a row until peers do not call it; default 1
	HealthyThreshold   uint32    `json:"healthyThreshold,omitempty"`   // successes in a row until they do again; default 1
	TCP                *TCPProbe `json:"tcp,omitempty"`
}

// A TCPProbe connects and does nothing else.
type TCPProbe struct{}

// A Listener is a port for other zones on a dataplane.
type Listener struct {
	Type    string `json:"type"` // ZoneIngress, ZoneEgress
	Address string `json:"address"`
	Port    uint32 `json:"port"`
	Name    string `json:"name,omitempty"`
	State   string `json:"state,omitempty"` // Ready (default), NotReady
}

// Probes lets an orchestrator outside of the mesh reach health pages of the
// workload.
type Probes struct {
	Port      uint32          `json:"port"`
	Endpoints []ProbeEndpoint `json:"endpoints,omitempty"`
}

// A ProbeEndpoint maps a path of the probes' port to one of the workload.
type ProbeEndpoint struct {
	InboundPort uint32 `json:"inboundPort"`
	InboundPath string `json:"inboundPath"`
	Path        string `json:"path"`
}

// An Outbound is one service that the workload calls at an address of its own.
type Outbound struct {
	Port    uint32 `json:"port"`
	Address string `json:"address,omitempty"` // default 127.0.0.1
	Tags    Tags   `json:"tags,omitempty"`
	// BackendRef is in place of tags; it takes effect with the MeshService kinds.
	BackendRef *OutboundRef `json:"backendRef,omitempty"`
}

// TransparentProxying says that the host's traffic is redirected to the proxy.
type TransparentProxying struct {
	RedirectPortInbound  uint32   `json:"redirectPortInbound,omitempty"`
	RedirectPortOutbound uint32   `json:"redirectPortOutbound,omitempty"`
	DirectAccessServices []string `json:"directAccessServices,omitempty"`
	ReachableServices    []string `json:"reachableServices,omitempty"` // none means all
	IPFamilyMode         string   `json:"ipFamilyMode,omitempty"`      // UnSpecified, DualStack, IPv4, IPv6
	// RedirectForwarded: what the host forwards for containers comes to
	// RedirectPortOutbound too, which then listens at all addresses. Kuma has no
	// such field.
	RedirectForwarded bool `json:"redirectForwarded,omitempty"`
	// ReachableBackends without refs are none; they take effect with the
	// MeshService kinds.
	ReachableBackends *ReachableBackends `json:"reachableBackends,omitempty"`
}

// ReachableBackends are the services that the workload calls.
type ReachableBackends struct {
	Refs []OutboundRef `json:"refs,omitempty"`
}

// An OutboundRef names a service by its resource.
type OutboundRef struct {
	Kind      string `json:"kind,omitempty"` // MeshService, MeshMultiZoneService, MeshExternalService
	Name      string `json:"name,omitempty"`
	Namespace string `json:"namespace,omitempty"` // for resources of Kubernetes
	Port      uint32 `json:"port,omitempty"`      // of the service
	Labels    Tags   `json:"labels,omitempty"`    // in place of name: all that carry them
}

// DataplaneAdmin is about Envoy's admin interface.
type DataplaneAdmin struct {
	Port uint32 `json:"port,omitempty"`
}
