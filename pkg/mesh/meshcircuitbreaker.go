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
func (s *MeshCircuitBreaker) Validate() (v Violations) {
	return s.Spec.validate(refs{top: chosenOrGateway, to: called, from: wholeMesh}, func(path string, c *MeshCircuitBreakerConf) Violations {
		return c.validate(path)
	})
}

func (c *MeshCircuitBreakerConf) validate(path string) (v Violations) {
	if c.ConnectionLimits == nil && c.OutlierDetection == nil {
		v.Add(path, "must have at least one of connectionLimits and outlierDetection")
	}
	if l := c.ConnectionLimits; l != nil {
		at := field(path, "connectionLimits")
		if *l == (ConnectionLimits{}) {
			v.Add(at, "must have at least one limit")
		}
		for _, n := range []struct {
			name string
			is   *uint32
		}{
			{"maxConnections", l.MaxConnections}, {"maxConnectionPools", l.MaxConnectionPools}, {"maxPendingRequests", l.MaxPendingRequests},
			{"maxRetries", l.MaxRetries}, {"maxRequests", l.MaxRequests},
		} {
			v = append(v, aboveZero(field(at, n.name), n.is)...)
		}
	}
	return append(v, c.OutlierDetection.validate(field(path, "outlierDetection"))...)
}

func (o *OutlierDetection) validate(path string) (v Violations) {
	if o == nil {
		return nil
	}
	v = append(v, validateSpan(field(path, "interval"), o.Interval)...)
	v = append(v, validateSpan(field(path, "baseEjectionTime"), o.BaseEjectionTime)...)
	v = append(v, validatePercent(field(path, "maxEjectionPercent"), o.MaxEjectionPercent)...)
	v = append(v, validatePercentText(field(path, "healthyPanicThreshold"), o.HealthyPanicThreshold)...)
	d, at := o.Detectors, field(path, "detectors")
	if d == nil {
		if o.Disabled == nil || !*o.Disabled {
			v.Add(at, "must be given; disabled: true turns all of them off")
		}
		return v
	}
	if *d == (OutlierDetectors{}) {
		v.Add(at, "must have at least one of totalFailures, gatewayFailures, localOriginFailures, successRate and failurePercentage")
	}
	for _, c := range []struct {
		name string
		is   *ConsecutiveDetector
	}{{"totalFailures", d.TotalFailures}, {"gatewayFailures", d.GatewayFailures}, {"localOriginFailures", d.LocalOriginFailures}} {
		if c.is != nil {
			v = append(v, aboveZero(field(at, c.name, "consecutive"), c.is.Consecutive)...)
		}
	}
	if s := d.SuccessRate; s != nil {
		if f, err := s.StandardDeviationFactor.Float(); s.StandardDeviationFactor != "" && (err != nil || !(f > 0 && f <= maxFactor)) {
			v.Add(field(at, "successRate.standardDeviationFactor"), `must be above 0 and at most %d, as in "1.9"`, maxFactor)
		}
	}
	if f := d.FailurePercentage; f != nil {
		v = append(v, validatePercent(field(at, "failurePercentage.threshold"), f.Threshold)...)
	}
	return v
}

// aboveZero accepts nil as the default.
func aboveZero(path string, n *uint32) (v Violations) {
	if n != nil && *n == 0 {
		v.Add(path, "must be above 0")
	}
	return v
}
