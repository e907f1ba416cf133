package mesh

// A MeshRateLimit bounds how much each proxy takes.
type MeshRateLimit struct {
	Spec BothWays[MeshRateLimitConf] `json:"spec"`
}

// A MeshRateLimitConf is counted by each proxy for itself.
type MeshRateLimitConf struct {
	Local *LocalRateLimit `json:"local,omitempty"`
}

// A LocalRateLimit has a limit for each protocol.
type LocalRateLimit struct {
	HTTP *LocalHTTPRateLimit `json:"http,omitempty"`
	TCP  *LocalTCPRateLimit  `json:"tcp,omitempty"`
}

// A LocalHTTPRateLimit bounds requests.
type LocalHTTPRateLimit struct {
	Disabled    *bool          `json:"disabled,omitempty"`
	RequestRate *Rate          `json:"requestRate,omitempty"`
	OnRateLimit *OnLocalRefuse `json:"onRateLimit,omitempty"`
}

// A LocalTCPRateLimit bounds new connections.
type LocalTCPRateLimit struct {
	Disabled       *bool `json:"disabled,omitempty"`
	ConnectionRate *Rate `json:"connectionRate,omitempty"`
}

// A Rate is so many in each interval.
type Rate struct {
	Num      uint32 `json:"num,omitempty"`
	Interval string `json:"interval,omitempty"` // at least 50ms
}

// OnLocalRefuse is the answer to requests beyond the limit.
type OnLocalRefuse struct {
	Status  uint32          `json:"status,omitempty"` // default 429
	Headers *HeaderModifier `json:"headers,omitempty"`
}

// Validate tells everything that is wrong with it.
func (s *MeshRateLimit) Validate() (v Violations) {
	v = append(v, s.Spec.toGateways()...)
	return append(v, s.Spec.validate(refs{top: chosenOrRoute, to: wholeMesh, from: wholeMesh}, func(path string, c *MeshRateLimitConf) Violations {
		return c.validate(path)
	})...)
}

func (c *MeshRateLimitConf) validate(path string) (v Violations) {
	l, path := c.Local, field(path, "local")
	if l == nil || l.HTTP == nil && l.TCP == nil {
		v.Add(path, "must have at least one of http and tcp")
		return v
	}
	if h, at := l.HTTP, field(path, "http"); h != nil {
		v = append(v, h.RequestRate.validate(field(at, "requestRate"), off(h.Disabled))...)
		if on := h.OnRateLimit; on != nil {
			if on.Status != 0 && !refusal(on.Status) {
				v.Add(field(at, "onRateLimit.status"), "must be one of the usual statuses of a refusal, such as 429 or 503")
			}
			v = append(v, on.Headers.validate(field(at, "onRateLimit.headers"))...)
		}
	}
	if t := l.TCP; t != nil {
		v = append(v, t.ConnectionRate.validate(field(path, "tcp.connectionRate"), off(t.Disabled))...)
	}
	return v
}

func off(disabled *bool) bool { return disabled != nil && *disabled }

// validate wants a rate unless the limit is off.
func (r *Rate) validate(path string, off bool) (v Violations) {
	if r == nil {
		if !off {
			v.Add(path, "must be given, as in {num: 10, interval: 1s}")
		}
		return v
	}
	if r.Num == 0 {
		v.Add(field(path, "num"), "must be 1 or more")
	}
	v = append(v, needDuration(field(path, "interval"), r.Interval)...)
	if d := Duration(r.Interval); d > 0 && d < shortestInterval {
		v.Add(field(path, "interval"), "must be %s or longer: ask for more in a longer interval", shortestInterval)
	}
	return v
}
