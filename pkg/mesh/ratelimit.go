package mesh

import (
	"net/http"
	"regexp"
	"time"
)

// A RateLimit bounds how many requests each proxy of its destinations takes
// from its sources. Of several that match a request, the one with the most
// specific source counts.
type RateLimit struct {
	Sources      []Selector    `json:"sources,omitempty"`
	Destinations []Selector    `json:"destinations,omitempty"`
	Conf         RateLimitConf `json:"conf"`
}

// RateLimitConf is the limit of each protocol.
type RateLimitConf struct {
	HTTP *HTTPRateLimit `json:"http,omitempty"`
}

// An HTTPRateLimit lets Requests through in each Interval.
type HTTPRateLimit struct {
	Requests    uint32       `json:"requests,omitempty"`
	Interval    string       `json:"interval,omitempty"` // at least 50ms
	OnRateLimit *OnRateLimit `json:"onRateLimit,omitempty"`
}

// OnRateLimit is the answer to requests beyond the limit.
type OnRateLimit struct {
	Status  uint32            `json:"status,omitempty"` // of refusals; default 429
	Headers []RateLimitHeader `json:"headers,omitempty"`
}

// A RateLimitHeader is set in that answer, or with Append added.
type RateLimitHeader struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Append bool   `json:"append,omitempty"`
}

// shortestInterval is how often a proxy's buckets are filled at most.
const shortestInterval = 50 * time.Millisecond

// Validate tells everything that is wrong with it.
func (s *RateLimit) Validate() (v Violations) {
	v = append(v, validateSelectors("sources", s.Sources)...)
	v = append(v, validateSelectors("destinations", s.Destinations)...)
	h := s.Conf.HTTP
	if h == nil {
		v.Add("conf.http", "must be given, as in {requests: 10, interval: 1s}")
		return v
	}
	if h.Requests == 0 {
		v.Add("conf.http.requests", "must be 1 or more")
	}
	v = append(v, needDuration("conf.http.interval", h.Interval)...)
	if d := h.Every(); d > 0 && d < shortestInterval {
		v.Add("conf.http.interval", "must be %s or longer: ask for more requests in a longer interval", shortestInterval)
	}
	if on := h.OnRateLimit; on != nil {
		v = append(v, on.validate("conf.http.onRateLimit")...)
	}
	return v
}

func (on *OnRateLimit) validate(path string) (v Violations) {
	if on.Status != 0 && !refusal(on.Status) {
		v.Add(field(path, "status"), "must be one of the usual statuses of a refusal, such as 429 or 503")
	}
	for i, h := range on.Headers {
		at := field(path, "headers", i)
		switch {
		case h.Key == "":
			v.Add(field(at, "key"), "must not be empty")
		case !answerHeader.MatchString(h.Key):
			v.Add(field(at, "key"), `must be the name of a header: letters, digits and any of !#$%%&'*+-.^_|~`)
		}
		if !answerHeaderValue.MatchString(h.Value) {
			v.Add(field(at, "value"), "must be text of one line")
		}
	}
	return v
}

// refusal tells whether proxies can refuse by a status: of those that have a
// name there are three that Envoy does not know.
func refusal(status uint32) bool {
	switch status {
	case http.StatusTeapot, http.StatusTooEarly, http.StatusUnavailableForLegalReasons:
		return false
	}
	return 400 <= status && status <= 599 && http.StatusText(int(status)) != ""
}

// Every is the interval of a valid limit.
func (h *HTTPRateLimit) Every() time.Duration { return mustDuration(h.Interval) }

var (
	answerHeader      = regexp.MustCompile("^[a-zA-Z0-9!#$%&'*+.^_|~-]+$")
	answerHeaderValue = regexp.MustCompile(`^[\t\x20-\x7e]*$`)
)
