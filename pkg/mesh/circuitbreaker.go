package mesh

// A CircuitBreaker keeps its sources from endpoints of its destinations that
// fail, and limits what they have under way.
type CircuitBreaker struct {
	Sources      []Selector          `json:"sources,omitempty"`
	Destinations []Selector          `json:"destinations,omitempty"`
	Conf         *CircuitBreakerConf `json:"conf,omitempty"`
}

// A CircuitBreakerConf has at least one detector or threshold. Durations are
// Go durations.
type CircuitBreakerConf struct {
	Interval           string  `json:"interval,omitempty"`           // between looks at the endpoints; default 10s
	BaseEjectionTime   string  `json:"baseEjectionTime,omitempty"`   // times how often the endpoint was ejected; default 30s
	MaxEjectionPercent *uint32 `json:"maxEjectionPercent,omitempty"` // default 10; one endpoint is always allowed
	// SplitExternalAndLocalErrors counts failures of this side by themselves:
	// no connection, no answer in time, reset.
	SplitExternalAndLocalErrors bool        `json:"splitExternalAndLocalErrors,omitempty"`
	Detectors                   *Detectors  `json:"detectors,omitempty"`
	Thresholds                  *Thresholds `json:"thresholds,omitempty"`
}

// Detectors eject endpoints; those that are not given are off.
type Detectors struct {
	TotalErrors       *ConsecutiveDetector `json:"totalErrors,omitempty"`   // every 5xx
	GatewayErrors     *ConsecutiveDetector `json:"gatewayErrors,omitempty"` // 502, 503, 504
	LocalErrors       *ConsecutiveDetector `json:"localErrors,omitempty"`   // needs SplitExternalAndLocalErrors
	StandardDeviation *DeviationDetector   `json:"standardDeviation,omitempty"`
	Failure           *FailureDetector     `json:"failure,omitempty"`
}

// A ConsecutiveDetector acts on failures in a row.
type ConsecutiveDetector struct {
	Consecutive *uint32 `json:"consecutive,omitempty"` // default 5
}

// A DeviationDetector acts where the success rate of an endpoint is below the
// mean by Factor standard deviations.
type DeviationDetector struct {
	RequestVolume *uint32  `json:"requestVolume,omitempty"` // an endpoint counts with so many requests in an interval; default 100
	MinimumHosts  *uint32  `json:"minimumHosts,omitempty"`  // so many endpoints must count; default 5
	Factor        *float64 `json:"factor,omitempty"`        // default 1.9
}

// A FailureDetector acts where at least Threshold percent of an endpoint's
// requests fail.
type FailureDetector struct {
	RequestVolume *uint32 `json:"requestVolume,omitempty"` // default 50
	MinimumHosts  *uint32 `json:"minimumHosts,omitempty"`  // default 5
	Threshold     *uint32 `json:"threshold,omitempty"`     // default 85
}

// Thresholds are what a source may have under way to a destination.
type Thresholds struct {
	MaxConnections     *uint32 `json:"maxConnections,omitempty"`     // default 1024
	MaxPendingRequests *uint32 `json:"maxPendingRequests,omitempty"` // default 1024
	MaxRetries         *uint32 `json:"maxRetries,omitempty"`         // default 3
	MaxRequests        *uint32 `json:"maxRequests,omitempty"`        // default 1024
}

// Validate tells everything that is wrong with it.
func (s *CircuitBreaker) Validate() (v Violations) {
	v = append(v, validateEnds(s.Sources, s.Destinations)...)
	c := s.Conf
	if c == nil {
		v.Add("conf", `must have at least one of "detectors" and "thresholds"`)
		return v
	}
	v = append(v, validateSpan("conf.interval", c.Interval)...)
	v = append(v, validateSpan("conf.baseEjectionTime", c.BaseEjectionTime)...)
	v = append(v, validatePercent("conf.maxEjectionPercent", c.MaxEjectionPercent)...)
	if c.Detectors == nil && c.Thresholds == nil {
		v.Add("conf", `must have at least one of "detectors" and "thresholds"`)
	}
	v = append(v, c.Detectors.validate("conf.detectors")...)
	if t := c.Thresholds; t != nil && *t == (Thresholds{}) {
		v.Add("conf.thresholds", `must have at least one of "maxConnections", "maxPendingRequests", "maxRetries" and "maxRequests"`)
	}
	return v
}

func (d *Detectors) validate(path string) (v Violations) {
	if d == nil {
		return nil
	}
	if *d == (Detectors{}) {
		v.Add(path, `must have at least one of "totalErrors", "gatewayErrors", "localErrors", "standardDeviation" and "failure"`)
	}
	for _, c := range []struct {
		name string
		is   *ConsecutiveDetector
	}{{"totalErrors", d.TotalErrors}, {"gatewayErrors", d.GatewayErrors}, {"localErrors", d.LocalErrors}} {
		if c.is != nil && c.is.Consecutive != nil && *c.is.Consecutive == 0 {
			v.Add(field(path, c.name, "consecutive"), "must be above 0; leave it out for 5, and the detector to turn it off")
		}
	}
	if s := d.StandardDeviation; s != nil && s.Factor != nil && !(*s.Factor >= 0 && *s.Factor <= maxFactor) {
		v.Add(field(path, "standardDeviation.factor"), "must be 0 to %d", maxFactor)
	}
	if f := d.Failure; f != nil {
		v = append(v, validatePercent(field(path, "failure.threshold"), f.Threshold)...)
	}
	return v
}

// maxFactor is more than any deviation can be, and fits where Envoy counts in
// thousandths.
const maxFactor = 1000

func validatePercent(path string, p *uint32) (v Violations) {
	if p != nil && *p > 100 {
		v.Add(path, "must be a percentage, 0 to 100")
	}
	return v
}
