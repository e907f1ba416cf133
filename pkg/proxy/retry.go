package proxy

// A Retry says what is tried again, and how often.
type Retry struct {
	From Origin `json:"from,omitzero"`
	// On are the conditions under which a request is tried again: "5xx",
	// "gateway-error", "connect-failure", "cancelled"; sorted.
	On []string `json:"on,omitempty"`
	// Attempts is how often a request is tried again, 0 the proxy's default
	// of once.
	Attempts uint32   `json:"attempts,omitempty"`
	PerTry   Duration `json:"perTry,omitzero"` // 0: no limit but the request's own
	BackOff  *BackOff `json:"backOff,omitempty"`
	Statuses []uint32 `json:"statuses,omitempty"` // those that "retriable-status-codes" means
	Methods  []string `json:"methods,omitempty"`  // none: all
	// Connects is how often a TCP connection is tried in all, 0 once.
	Connects uint32 `json:"connects,omitempty"`
}

// A BackOff is how long it takes until the next try: a random time that grows
// from Base to at most Max.
type BackOff struct {
	Base Duration `json:"base"`
	Max  Duration `json:"max,omitzero"` // 0: ten times Base
}
