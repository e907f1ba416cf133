package mesh

// A Timeout limits the calls of its sources to its destinations.
type Timeout struct {
	Sources      []Selector   `json:"sources,omitempty"`
	Destinations []Selector   `json:"destinations,omitempty"`
	Conf         *TimeoutConf `json:"conf,omitempty"`
}

// A TimeoutConf has Go durations; "0s" is no limit, and so is what is left
// out, but for ConnectTimeout and HTTP.IdleTimeout.
type TimeoutConf struct {
	ConnectTimeout string       `json:"connectTimeout,omitempty"` // default 5s
	TCP            *TCPTimeout  `json:"tcp,omitempty"`
	HTTP           *HTTPTimeout `json:"http,omitempty"`
	GRPC           *GRPCTimeout `json:"grpc,omitempty"`
}

// A TCPTimeout is of connections that are not HTTP.
type TCPTimeout struct {
	IdleTimeout string `json:"idleTimeout,omitempty"` // nothing moves
}

// An HTTPTimeout is of requests.
type HTTPTimeout struct {
	RequestTimeout    string `json:"requestTimeout,omitempty"`    // request and answer together
	IdleTimeout       string `json:"idleTimeout,omitempty"`       // a connection without requests; default 1h
	StreamIdleTimeout string `json:"streamIdleTimeout,omitempty"` // a request on which nothing moves
	MaxStreamDuration string `json:"maxStreamDuration,omitempty"`
}

// A GRPCTimeout is an older form: it holds for grpc services where HTTP does
// not say the same.
type GRPCTimeout struct {
	StreamIdleTimeout string `json:"streamIdleTimeout,omitempty"`
	MaxStreamDuration string `json:"maxStreamDuration,omitempty"`
}

// Validate tells everything that is wrong with it.
func (s *Timeout) Validate() (v Violations) {
	v = append(v, validateEnds(s.Sources, s.Destinations)...)
	c := s.Conf
	if c == nil || *c == (TimeoutConf{}) {
		v.Add("conf", `must have at least one of "connectTimeout", "tcp", "http" and "grpc"`)
		return v
	}
	v = append(v, validateSpan("conf.connectTimeout", c.ConnectTimeout)...)
	if t := c.TCP; t != nil {
		if *t == (TCPTimeout{}) {
			v.Add("conf.tcp", `must have "idleTimeout"`)
		}
		v = append(v, validateLimit("conf.tcp.idleTimeout", t.IdleTimeout)...)
	}
	if h := c.HTTP; h != nil {
		if *h == (HTTPTimeout{}) {
			v.Add("conf.http", `must have at least one of "requestTimeout", "idleTimeout", "streamIdleTimeout" and "maxStreamDuration"`)
		}
		v = append(v, validateLimit("conf.http.requestTimeout", h.RequestTimeout)...)
		v = append(v, validateLimit("conf.http.idleTimeout", h.IdleTimeout)...)
		v = append(v, validateLimit("conf.http.streamIdleTimeout", h.StreamIdleTimeout)...)
		v = append(v, validateLimit("conf.http.maxStreamDuration", h.MaxStreamDuration)...)
	}
	if g := c.GRPC; g != nil {
		if *g == (GRPCTimeout{}) {
			v.Add("conf.grpc", `must have at least one of "streamIdleTimeout" and "maxStreamDuration"`)
		}
		v = append(v, validateLimit("conf.grpc.streamIdleTimeout", g.StreamIdleTimeout)...)
		v = append(v, validateLimit("conf.grpc.maxStreamDuration", g.MaxStreamDuration)...)
	}
	return v
}
