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
func (s *MeshTimeout) Validate() (v Violations) {
	return s.Spec.validate(refs{top: chosenOrRoute, to: calledOrRoute, from: wholeMesh}, func(path string, c *MeshTimeoutConf) Violations {
		return c.validate(path)
	})
}

func (c *MeshTimeoutConf) validate(path string) (v Violations) {
	if *c == (MeshTimeoutConf{}) {
		v.Add(path, "must have at least one of connectionTimeout, idleTimeout and http")
	}
	v = append(v, validateSpan(field(path, "connectionTimeout"), c.ConnectionTimeout)...)
	v = append(v, validateLimit(field(path, "idleTimeout"), c.IdleTimeout)...)
	h, at := c.HTTP, field(path, "http")
	if h == nil {
		return v
	}
	if *h == (MeshTimeoutHTTP{}) {
		v.Add(at, "must have at least one timeout")
	}
	v = append(v, validateLimit(field(at, "requestTimeout"), h.RequestTimeout)...)
	v = append(v, validateLimit(field(at, "streamIdleTimeout"), h.StreamIdleTimeout)...)
	v = append(v, validateLimit(field(at, "maxStreamDuration"), h.MaxStreamDuration)...)
	v = append(v, validateLimit(field(at, "maxConnectionDuration"), h.MaxConnectionDuration)...)
	return append(v, validateLimit(field(at, "requestHeadersTimeout"), h.RequestHeadersTimeout)...)
}
