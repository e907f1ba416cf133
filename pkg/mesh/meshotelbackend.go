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
func (s *MeshOpenTelemetryBackend) Validate() (v Violations) {
	c := &s.Spec
	if e := c.Endpoint; e != nil {
		v = append(v, validateHost("spec.endpoint.address", e.Address)...)
		v = append(v, validatePort("spec.endpoint.port", e.Port)...)
		v = append(v, validateURLPath("spec.endpoint.path", e.Path)...)
		if e.Path != "" && c.Protocol != "http" {
			v.Add("spec.endpoint.path", "must be left out unless protocol is http")
		}
	} else if c.Env == nil || c.Env.Mode == "Disabled" {
		v.Add("spec.endpoint", "must be given unless env may take its place")
	}
	v = append(v, oneOf("spec.protocol", c.Protocol, "grpc", "http")...)
	if e := c.Env; e != nil {
		v = append(v, oneOf("spec.env.mode", e.Mode, "Disabled", "Optional", "Required")...)
		v = append(v, oneOf("spec.env.precedence", e.Precedence, "EnvFirst", "ExplicitFirst")...)
	}
	return v
}
