package mesh

// A MeshHealthCheck has proxies ask the endpoints that they call whether they
// are well, and call only those that are.
type MeshHealthCheck struct {
	Spec Outward[MeshHealthCheckConf] `json:"spec"`
}

// A MeshHealthCheckConf has at least one of TCP, HTTP and GRPC. Durations are
// Go durations.
type MeshHealthCheckConf struct {
	Interval                     string               `json:"interval,omitempty"`           // default 1m
	Timeout                      string               `json:"timeout,omitempty"`            // default 15s
	UnhealthyThreshold           *uint32              `json:"unhealthyThreshold,omitempty"` // failures in a row; default 5
	HealthyThreshold             *uint32              `json:"healthyThreshold,omitempty"`   // successes in a row; default 1
	InitialJitter                string               `json:"initialJitter,omitempty"`      // at most so long until the first
	IntervalJitter               string               `json:"intervalJitter,omitempty"`     // at most so much added to interval
	IntervalJitterPercent        *uint32              `json:"intervalJitterPercent,omitempty"`
	HealthyPanicThreshold        IntOrString          `json:"healthyPanicThreshold,omitempty"` // percent; default 50
	FailTrafficOnPanic           *bool                `json:"failTrafficOnPanic,omitempty"`
	EventLogPath                 string               `json:"eventLogPath,omitempty"` // a file on the host to which its proxy writes
	AlwaysLogHealthCheckFailures *bool                `json:"alwaysLogHealthCheckFailures,omitempty"`
	NoTrafficInterval            string               `json:"noTrafficInterval,omitempty"` // of services that were not called yet; default 60s
	TCP                          *MeshHealthCheckTCP  `json:"tcp,omitempty"`
	HTTP                         *MeshHealthCheckHTTP `json:"http,omitempty"`
	GRPC                         *MeshHealthCheckGRPC `json:"grpc,omitempty"`
	ReuseConnection              *bool                `json:"reuseConnection,omitempty"` // default true
}

// A MeshHealthCheckTCP sends bytes and looks for others in what comes back.
type MeshHealthCheckTCP struct {
	Disabled *bool    `json:"disabled,omitempty"`
	Send     []byte   `json:"send,omitempty"`
	Receive  [][]byte `json:"receive,omitempty"` // all of them, in order
}

// A MeshHealthCheckHTTP gets a path.
type MeshHealthCheckHTTP struct {
	Disabled            *bool           `json:"disabled,omitempty"`
	Path                string          `json:"path,omitempty"` // default "/"
	RequestHeadersToAdd *HeaderModifier `json:"requestHeadersToAdd,omitempty"`
	ExpectedStatuses    []uint32        `json:"expectedStatuses,omitempty"` // default 200
}

// A MeshHealthCheckGRPC asks the health service of gRPC.
type MeshHealthCheckGRPC struct {
	Disabled    *bool  `json:"disabled,omitempty"`
	ServiceName string `json:"serviceName,omitempty"`
	Authority   string `json:"authority,omitempty"`
}

// Validate tells everything that is wrong with it.
func (s *MeshHealthCheck) Validate() (v Violations) {
	return s.Spec.validate(refs{top: chosenOrGateway, to: called}, func(path string, c *MeshHealthCheckConf) Violations {
		return c.validate(path)
	})
}

func (c *MeshHealthCheckConf) validate(path string) (v Violations) {
	v = append(v, validateSpan(field(path, "interval"), c.Interval)...)
	v = append(v, validateSpan(field(path, "timeout"), c.Timeout)...)
	v = append(v, aboveZero(field(path, "unhealthyThreshold"), c.UnhealthyThreshold)...)
	v = append(v, aboveZero(field(path, "healthyThreshold"), c.HealthyThreshold)...)
	v = append(v, validateSpan(field(path, "initialJitter"), c.InitialJitter)...)
	v = append(v, validateSpan(field(path, "intervalJitter"), c.IntervalJitter)...)
	v = append(v, validatePercentText(field(path, "healthyPanicThreshold"), c.HealthyPanicThreshold)...)
	if c.EventLogPath != "" {
		v = append(v, validateHeaderValue(field(path, "eventLogPath"), c.EventLogPath)...)
	}
	v = append(v, validateSpan(field(path, "noTrafficInterval"), c.NoTrafficInterval)...)
	if c.TCP == nil && c.HTTP == nil && c.GRPC == nil {
		v.Add(path, "must have at least one of tcp, http and grpc")
	}
	if h, at := c.HTTP, field(path, "http"); h != nil {
		v = append(v, validateURLPath(field(at, "path"), h.Path)...)
		v = append(v, h.RequestHeadersToAdd.validate(field(at, "requestHeadersToAdd"))...)
		if m := h.RequestHeadersToAdd; m != nil && len(m.Remove) > 0 {
			v.Add(field(at, "requestHeadersToAdd.remove"), "must be left out: the request has no headers to remove")
		}
		v = append(v, validateStatuses(field(at, "expectedStatuses"), h.ExpectedStatuses)...)
	}
	return v
}
