package proxy

// Timeouts are the limits of an outbound's traffic; 0 is no limit. How long a
// connection to an endpoint may take is the cluster's: Cluster.ConnectTimeout.
type Timeouts struct {
	From Origin `json:"from,omitzero"`
	// TCPIdle ends a connection that carries nothing.
	TCPIdle Duration `json:"tcpIdle,omitzero"`
	// HTTPIdle ends a connection that carries no request.
	HTTPIdle Duration `json:"httpIdle,omitzero"`
	// Request is how long a request and its answer may take together.
	Request Duration `json:"request,omitzero"`
	// StreamIdle ends a request on which nothing moves.
	StreamIdle Duration `json:"streamIdle,omitzero"`
	// MaxStream ends a request however much moves on it.
	MaxStream Duration `json:"maxStream,omitzero"`
}
