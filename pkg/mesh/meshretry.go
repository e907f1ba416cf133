package mesh

// A MeshRetry says which calls are tried again.
type MeshRetry struct {
	Spec Outward[MeshRetryConf] `json:"spec"`
}

// A MeshRetryConf has a part for each protocol; HTTP is also for http2.
type MeshRetryConf struct {
	TCP  *MeshRetryTCP  `json:"tcp,omitempty"`
	HTTP *MeshRetryHTTP `json:"http,omitempty"`
	GRPC *MeshRetryGRPC `json:"grpc,omitempty"`
}

// A MeshRetryTCP is for connections.
type MeshRetryTCP struct {
	MaxConnectAttempt *uint32 `json:"maxConnectAttempt,omitempty"` // in all
}

// A MeshRetryHTTP is for requests.
type MeshRetryHTTP struct {
	NumRetries               *uint32                `json:"numRetries,omitempty"`    // default 1
	PerTryTimeout            string                 `json:"perTryTimeout,omitempty"` // default: the request's
	BackOff                  *RetryBackOff          `json:"backOff,omitempty"`
	RateLimitedBackOff       *RateLimitedBackOff    `json:"rateLimitedBackOff,omitempty"`
	RetryOn                  []string               `json:"retryOn,omitempty"` // conditions, methods as HttpMethodGet, statuses as "503"
	RetriableResponseHeaders []HTTPHeaderMatch      `json:"retriableResponseHeaders,omitempty"`
	RetriableRequestHeaders  []HTTPHeaderMatch      `json:"retriableRequestHeaders,omitempty"`
	HostSelection            []HostSelectionElement `json:"hostSelection,omitempty"`
	// HostSelectionMaxAttempts is how often another endpoint is looked for.
	HostSelectionMaxAttempts *uint64 `json:"hostSelectionMaxAttempts,omitempty"`
}

// A MeshRetryGRPC is for gRPC calls.
type MeshRetryGRPC struct {
	NumRetries         *uint32             `json:"numRetries,omitempty"`
	PerTryTimeout      string              `json:"perTryTimeout,omitempty"`
	BackOff            *RetryBackOff       `json:"backOff,omitempty"`
	RateLimitedBackOff *RateLimitedBackOff `json:"rateLimitedBackOff,omitempty"`
	RetryOn            []string            `json:"retryOn,omitempty"` // Canceled, DeadlineExceeded, Internal, ResourceExhausted, Unavailable
}

// A RateLimitedBackOff waits as long as an answer's headers ask.
type RateLimitedBackOff struct {
	ResetHeaders []ResetHeader `json:"resetHeaders,omitempty"`
	MaxInterval  string        `json:"maxInterval,omitempty"` // default 300s
}

// A ResetHeader tells when the next try is welcome.
type ResetHeader struct {
	Name   string `json:"name,omitempty"`
	Format string `json:"format,omitempty"` // Seconds, UnixTimestamp
}

// A HostSelectionElement says which endpoint the next try takes.
type HostSelectionElement struct {
	Predicate       string `json:"predicate,omitempty"`       // OmitPreviousHosts, OmitHostsWithTags, OmitPreviousPriorities
	Tags            Tags   `json:"tags,omitempty"`            // for OmitHostsWithTags
	UpdateFrequency uint32 `json:"updateFrequency,omitempty"` // for OmitPreviousPriorities; default 2
}

var (
	meshRetryOn = []string{
		"5xx", "GatewayError", "Reset", "Retriable4xx", "ConnectFailure", "EnvoyRatelimited", "RefusedStream", "Http3PostConnectFailure",
		"HttpMethodConnect", "HttpMethodDelete", "HttpMethodGet", "HttpMethodHead", "HttpMethodOptions", "HttpMethodPatch",
		"HttpMethodPost", "HttpMethodPut", "HttpMethodTrace",
	}
	meshGRPCRetryOn = []string{"Canceled", "DeadlineExceeded", "Internal", "ResourceExhausted", "Unavailable"}
)

// Validate tells everything that is wrong with it.
func (s *MeshRetry) Validate() (v Violations) {
	return s.Spec.validate(refs{top: chosenOrRoute, to: calledOrRoute}, func(path string, c *MeshRetryConf) Violations {
		return c.validate(path)
	})
}

func (c *MeshRetryConf) validate(path string) (v Violations) {
	if *c == (MeshRetryConf{}) {
		v.Add(path, "must have at least one of tcp, http and grpc")
	}
	if t := c.TCP; t != nil {
		switch at := field(path, "tcp.maxConnectAttempt"); {
		case t.MaxConnectAttempt == nil:
			v.Add(at, "must be given: how often a connection is tried, in all")
		case *t.MaxConnectAttempt == 0:
			v.Add(at, "must be above 0")
		}
	}
	v = append(v, c.HTTP.validate(field(path, "http"))...)
	return append(v, c.GRPC.validate(field(path, "grpc"))...)
}

func (h *MeshRetryHTTP) validate(path string) (v Violations) {
	if h == nil {
		return nil
	}
	v = append(v, validateTries(path, h.PerTryTimeout, h.BackOff, h.RateLimitedBackOff)...)
	for i, on := range h.RetryOn {
		if n := portNumber(on); n >= 100 && n <= 599 {
			continue
		}
		v = append(v, listed(field(path, "retryOn", i), on, meshRetryOn)...)
	}
	v = append(v, validateHeaderMatches(field(path, "retriableResponseHeaders"), h.RetriableResponseHeaders)...)
	v = append(v, validateHeaderMatches(field(path, "retriableRequestHeaders"), h.RetriableRequestHeaders)...)
	priorities := 0
	for i, e := range h.HostSelection {
		at := field(path, "hostSelection", i)
		v = append(v, listed(field(at, "predicate"), e.Predicate, []string{"OmitPreviousHosts", "OmitHostsWithTags", "OmitPreviousPriorities"})...)
		if e.Predicate == "OmitHostsWithTags" {
			if len(e.Tags) == 0 {
				v.Add(field(at, "tags"), "must be given for OmitHostsWithTags")
			}
			v = append(v, validateMatchTags(field(at, "tags"), e.Tags)...)
		} else if len(e.Tags) > 0 {
			v.Add(field(at, "tags"), "must be left out for %s", e.Predicate)
		}
		if e.Predicate == "OmitPreviousPriorities" {
			priorities++
		}
	}
	if priorities > 1 {
		v.Add(field(path, "hostSelection"), "must have OmitPreviousPriorities at most once")
	}
	return v
}

func (g *MeshRetryGRPC) validate(path string) (v Violations) {
	if g == nil {
		return nil
	}
	v = append(v, validateTries(path, g.PerTryTimeout, g.BackOff, g.RateLimitedBackOff)...)
	for i, on := range g.RetryOn {
		v = append(v, listed(field(path, "retryOn", i), on, meshGRPCRetryOn)...)
	}
	return v
}

// validateTries checks what requests and gRPC calls have both.
func validateTries(path, perTry string, b *RetryBackOff, r *RateLimitedBackOff) (v Violations) {
	v = append(v, validateLimit(field(path, "perTryTimeout"), perTry)...)
	if b != nil {
		at := field(path, "backOff")
		v = append(v, validateSpan(field(at, "baseInterval"), b.BaseInterval)...)
		v = append(v, validateSpan(field(at, "maxInterval"), b.MaxInterval)...)
		if most := Duration(b.MaxInterval); most > 0 && most < Duration(b.BaseInterval) {
			v.Add(field(at, "maxInterval"), "must be at least baseInterval")
		}
	}
	if r == nil {
		return v
	}
	at := field(path, "rateLimitedBackOff")
	if len(r.ResetHeaders) == 0 {
		v.Add(field(at, "resetHeaders"), "must have at least one header")
	}
	for i, h := range r.ResetHeaders {
		v = append(v, validateHeaderName(field(at, "resetHeaders", i, "name"), h.Name)...)
		v = append(v, listed(field(at, "resetHeaders", i, "format"), h.Format, []string{"Seconds", "UnixTimestamp"})...)
	}
	return append(v, validateSpan(field(at, "maxInterval"), r.MaxInterval)...)
}
