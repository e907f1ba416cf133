package mesh

import "slices"

// A Retry says which calls of its sources to its destinations are tried again.
type Retry struct {
	Sources      []Selector `json:"sources,omitempty"`
	Destinations []Selector `json:"destinations,omitempty"`
	Conf         *RetryConf `json:"conf,omitempty"`
}

// A RetryConf has a part for each protocol; HTTP is also for http2.
type RetryConf struct {
	HTTP *HTTPRetry `json:"http,omitempty"`
	GRPC *GRPCRetry `json:"grpc,omitempty"`
	TCP  *TCPRetry  `json:"tcp,omitempty"`
}

// An HTTPRetry is for requests.
type HTTPRetry struct {
	NumRetries           *uint32       `json:"numRetries,omitempty"`    // default 1
	PerTryTimeout        string        `json:"perTryTimeout,omitempty"` // default: the request's
	BackOff              *RetryBackOff `json:"backOff,omitempty"`
	RetriableStatusCodes []uint32      `json:"retriableStatusCodes,omitempty"`
	RetriableMethods     []string      `json:"retriableMethods,omitempty"` // default: all
	// RetryOn defaults to gateway_error, connect_failure and refused_stream,
	// and the status codes where there are some.
	RetryOn []string `json:"retryOn,omitempty"`
}

// A RetryBackOff is how long the next try waits: a random time below
// BaseInterval, and twice, four times as long at each further try.
type RetryBackOff struct {
	BaseInterval string `json:"baseInterval,omitempty"`
	MaxInterval  string `json:"maxInterval,omitempty"` // default ten times BaseInterval
}

// A GRPCRetry is for gRPC calls.
type GRPCRetry struct {
	RetryOn       []string      `json:"retryOn,omitempty"` // default: all of them, and what HTTP's default is
	NumRetries    *uint32       `json:"numRetries,omitempty"`
	PerTryTimeout string        `json:"perTryTimeout,omitempty"`
	BackOff       *RetryBackOff `json:"backOff,omitempty"`
}

// A TCPRetry is for connections.
type TCPRetry struct {
	MaxConnectAttempts uint32 `json:"maxConnectAttempts,omitempty"` // in all
}

var (
	httpRetryOn = []string{
		"all_5xx", "gateway_error", "reset", "connect_failure", "envoy_ratelimited", "retriable_4xx", "refused_stream",
		retriableStatusCodes, "retriable_headers", "http3_post_connect_failure",
	}
	grpcRetryOn = []string{"cancelled", "deadline_exceeded", "internal", "resource_exhausted", "unavailable"}
	httpMethods = []string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}
)

const retriableStatusCodes = "retriable_status_codes"

// Validate tells everything that is wrong with it.
func (s *Retry) Validate() (v Violations) {
	v = append(v, validateEnds(s.Sources, s.Destinations)...)
	c := s.Conf
	if c == nil || *c == (RetryConf{}) {
		v.Add("conf", `must have at least one of "http", "grpc" and "tcp"`)
		return v
	}
	v = append(v, c.HTTP.validate("conf.http")...)
	v = append(v, c.GRPC.validate("conf.grpc")...)
	if c.TCP != nil && c.TCP.MaxConnectAttempts == 0 {
		v.Add("conf.tcp.maxConnectAttempts", "must be above 0")
	}
	return v
}

func (h *HTTPRetry) validate(path string) (v Violations) {
	if h == nil {
		return nil
	}
	if h.NumRetries == nil && h.PerTryTimeout == "" && h.BackOff == nil && len(h.RetriableStatusCodes) == 0 &&
		len(h.RetriableMethods) == 0 && len(h.RetryOn) == 0 {
		v.Add(path, `must not be empty; "numRetries" says how often`)
	}
	v = append(v, validateRetry(path, h.NumRetries, h.PerTryTimeout, h.BackOff)...)
	v = append(v, validateStatuses(field(path, "retriableStatusCodes"), h.RetriableStatusCodes)...)
	for i, m := range h.RetriableMethods {
		v = append(v, listed(field(path, "retriableMethods", i), m, httpMethods)...)
	}
	for i, on := range h.RetryOn {
		v = append(v, listed(field(path, "retryOn", i), on, httpRetryOn)...)
	}
	if slices.Contains(h.RetryOn, retriableStatusCodes) && len(h.RetriableStatusCodes) == 0 {
		v.Add(field(path, "retriableStatusCodes"), "must list the codes that %s of retryOn means", retriableStatusCodes)
	}
	return v
}

func (g *GRPCRetry) validate(path string) (v Violations) {
	if g == nil {
		return nil
	}
	if g.NumRetries == nil && g.PerTryTimeout == "" && g.BackOff == nil && len(g.RetryOn) == 0 {
		v.Add(path, `must not be empty; "numRetries" says how often`)
	}
	v = append(v, validateRetry(path, g.NumRetries, g.PerTryTimeout, g.BackOff)...)
	for i, on := range g.RetryOn {
		v = append(v, listed(field(path, "retryOn", i), on, grpcRetryOn)...)
	}
	return v
}

// validateRetry checks what requests and gRPC calls have both.
func validateRetry(path string, num *uint32, perTry string, b *RetryBackOff) (v Violations) {
	if num != nil && *num == 0 {
		v.Add(field(path, "numRetries"), "must be above 0; without the whole part nothing is tried again")
	}
	v = append(v, validateSpan(field(path, "perTryTimeout"), perTry)...)
	if b == nil {
		return v
	}
	at := field(path, "backOff")
	if b.BaseInterval == "" {
		v.Add(field(at, "baseInterval"), `must be given, as in "25ms"`)
	}
	v = append(v, validateSpan(field(at, "baseInterval"), b.BaseInterval)...)
	v = append(v, validateSpan(field(at, "maxInterval"), b.MaxInterval)...)
	if most := Duration(b.MaxInterval); most > 0 && most < Duration(b.BaseInterval) {
		v.Add(field(at, "maxInterval"), "must be at least baseInterval")
	}
	return v
}

// listed is oneOf for what must not be empty.
func listed(path, value string, allowed []string) (v Violations) {
	if value == "" {
		v.Add(path, "must not be empty")
		return v
	}
	return oneOf(path, value, allowed...)
}

// validateStatuses wants codes that HTTP has.
func validateStatuses(path string, codes []uint32) (v Violations) {
	for i, c := range codes {
		if c < 100 || c > 599 {
			v.Add(field(path, i), "%d is not a status of HTTP: those are 100 to 599", c)
		}
	}
	return v
}
