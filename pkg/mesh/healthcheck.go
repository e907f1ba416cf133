package mesh

// A HealthCheck has its sources ask the endpoints of its destinations whether
// they are well, and call only those that are.
type HealthCheck struct {
	Sources      []Selector       `json:"sources,omitempty"`
	Destinations []Selector       `json:"destinations,omitempty"`
	Conf         *HealthCheckConf `json:"conf,omitempty"`
}

// A HealthCheckConf with neither TCP nor HTTP is content with a connection.
// Durations are Go durations.
type HealthCheckConf struct {
	Interval              string   `json:"interval,omitempty"`
	Timeout               string   `json:"timeout,omitempty"`
	UnhealthyThreshold    uint32   `json:"unhealthyThreshold,omitempty"` // failures in a row
	HealthyThreshold      uint32   `json:"healthyThreshold,omitempty"`   // successes in a row
	InitialJitter         string   `json:"initialJitter,omitempty"`      // at most so long until the first
	IntervalJitter        string   `json:"intervalJitter,omitempty"`     // at most so much added to Interval
	IntervalJitterPercent uint32   `json:"intervalJitterPercent,omitempty"`
	HealthyPanicThreshold *float64 `json:"healthyPanicThreshold,omitempty"` // percent; default 50
	FailTrafficOnPanic    bool     `json:"failTrafficOnPanic,omitempty"`
	// EventLogPath is a file on the host to which its proxy writes.
	EventLogPath                 string           `json:"eventLogPath,omitempty"`
	AlwaysLogHealthCheckFailures bool             `json:"alwaysLogHealthCheckFailures,omitempty"`
	NoTrafficInterval            string           `json:"noTrafficInterval,omitempty"` // of services that were not called yet; default 60s
	TCP                          *TCPHealthCheck  `json:"tcp,omitempty"`
	HTTP                         *HTTPHealthCheck `json:"http,omitempty"`
	ReuseConnection              *bool            `json:"reuseConnection,omitempty"` // default true
}

// A TCPHealthCheck sends bytes and looks for others in what comes back.
type TCPHealthCheck struct {
	Send    []byte   `json:"send,omitempty"`
	Receive [][]byte `json:"receive,omitempty"` // all of them, in order
}

// An HTTPHealthCheck gets a path.
type HTTPHealthCheck struct {
	Path                string              `json:"path,omitempty"`
	RequestHeadersToAdd []HealthCheckHeader `json:"requestHeadersToAdd,omitempty"`
	ExpectedStatuses    []uint32            `json:"expectedStatuses,omitempty"` // default 200
}

// A HealthCheckHeader is one header of the request. It replaces one of its
// name only where Append is false; the default is true.
type HealthCheckHeader struct {
	Header *HeaderKeyValue `json:"header,omitempty"`
	Append *bool           `json:"append,omitempty"`
}

// HeaderKeyValue is a header.
type HeaderKeyValue struct {
	Key   string `json:"key,omitempty"`
	Value string `json:"value,omitempty"`
}

// Validate tells everything that is wrong with it.
func (s *HealthCheck) Validate() (v Violations) {
	v = append(v, validateEnds(s.Sources, s.Destinations)...)
	c := s.Conf
	if c == nil {
		v.Add("conf", `must be given, with "interval", "timeout", "unhealthyThreshold" and "healthyThreshold"`)
		return v
	}
	needed := func(path, value string) {
		if value == "" {
			v.Add(path, `must be given, as in "10s"`)
		}
		v = append(v, validateSpan(path, value)...)
	}
	needed("conf.interval", c.Interval)
	needed("conf.timeout", c.Timeout)
	if c.UnhealthyThreshold == 0 {
		v.Add("conf.unhealthyThreshold", "must be above 0: so many failures in a row make an endpoint unhealthy")
	}
	if c.HealthyThreshold == 0 {
		v.Add("conf.healthyThreshold", "must be above 0: so many successes in a row make an endpoint healthy again")
	}
	v = append(v, validateSpan("conf.initialJitter", c.InitialJitter)...)
	v = append(v, validateSpan("conf.intervalJitter", c.IntervalJitter)...)
	if p := c.HealthyPanicThreshold; p != nil && !(*p >= 0 && *p <= 100) {
		v.Add("conf.healthyPanicThreshold", "must be a percentage, 0 to 100")
	}
	v = append(v, validateSpan("conf.noTrafficInterval", c.NoTrafficInterval)...)
	if c.TCP != nil && c.HTTP != nil {
		v.Add("conf", `must have either "tcp" or "http", not both`)
	}
	return append(v, c.HTTP.validate("conf.http")...)
}

func (h *HTTPHealthCheck) validate(path string) (v Violations) {
	if h == nil {
		return nil
	}
	if h.Path == "" {
		v.Add(field(path, "path"), `must be given, as in "/health"`)
	}
	v = append(v, validateHeaderValue(field(path, "path"), h.Path)...)
	for i, a := range h.RequestHeadersToAdd {
		at := field(path, "requestHeadersToAdd", i, "header")
		if a.Header == nil {
			v.Add(at, `must be given, as in "{key: x-check, value: weft}"`)
			continue
		}
		v = append(v, validateHeaderName(field(at, "key"), a.Header.Key)...)
		v = append(v, validateHeaderValue(field(at, "value"), a.Header.Value)...)
	}
	return append(v, validateStatuses(field(path, "expectedStatuses"), h.ExpectedStatuses)...)
}
