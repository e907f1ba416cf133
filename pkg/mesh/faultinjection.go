package mesh

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A FaultInjection makes calls from its sources to its destinations go wrong,
// so that their handling can be tried. Of several that match, all do.
type FaultInjection struct {
	Sources      []Selector `json:"sources,omitempty"`
	Destinations []Selector `json:"destinations,omitempty"` // each with kuma.io/protocol: http, http2 or grpc
	Conf         FaultConf  `json:"conf"`
}

// FaultConf says what goes wrong; at least one of it.
type FaultConf struct {
	Delay             *FaultDelay     `json:"delay,omitempty"`
	Abort             *FaultAbort     `json:"abort,omitempty"`
	ResponseBandwidth *FaultBandwidth `json:"responseBandwidth,omitempty"`
}

// A FaultDelay holds a request up.
type FaultDelay struct {
	Percentage *float64 `json:"percentage,omitempty"` // of the requests, 0 to 100
	Value      string   `json:"value,omitempty"`      // "5s"
}

// A FaultAbort answers in place of the workload.
type FaultAbort struct {
	Percentage *float64 `json:"percentage,omitempty"`
	HTTPStatus uint32   `json:"httpStatus,omitempty"` // 200 to 599
}

// A FaultBandwidth slows the body of an answer down.
type FaultBandwidth struct {
	Percentage *float64 `json:"percentage,omitempty"`
	Limit      string   `json:"limit,omitempty"` // in bits a second: "50 mbps", "100kbps", "1gbps"
}

// Validate tells everything that is wrong with it.
func (s *FaultInjection) Validate() (v Violations) {
	v = append(v, validateSelectors("sources", s.Sources)...)
	v = append(v, validateSelectors("destinations", s.Destinations)...)
	for i, d := range s.Destinations {
		if p := strings.ToLower(d.Match[ProtocolTag]); !slices.Contains(httpProtocols, p) {
			v.Add(keyed(field("destinations", i, "match"), ProtocolTag),
				"must be one of %s: faults are made in HTTP alone", strings.Join(httpProtocols, ", "))
		}
	}
	c := &s.Conf
	if c.Delay == nil && c.Abort == nil && c.ResponseBandwidth == nil {
		v.Add("conf", "must have at least one of delay, abort and responseBandwidth")
	}
	if d := c.Delay; d != nil {
		v = append(v, validatePercentage("conf.delay.percentage", d.Percentage)...)
		v = append(v, needDuration("conf.delay.value", d.Value)...)
	}
	if a := c.Abort; a != nil {
		v = append(v, validatePercentage("conf.abort.percentage", a.Percentage)...)
		if a.HTTPStatus < 200 || a.HTTPStatus > 599 {
			v.Add("conf.abort.httpStatus", "must be the status of an answer, 200 to 599")
		}
	}
	if b := c.ResponseBandwidth; b != nil {
		v = append(v, validatePercentage("conf.responseBandwidth.percentage", b.Percentage)...)
		if _, err := ParseBandwidth(b.Limit); err != nil {
			v.Add("conf.responseBandwidth.limit", "%s", err)
		}
	}
	return v
}

// Duration is how long a valid delay is.
func (d *FaultDelay) Duration() time.Duration { return mustDuration(d.Value) }

// BitsPerSecond is what a valid limit says.
func (b *FaultBandwidth) BitsPerSecond() uint64 {
	n, err := ParseBandwidth(b.Limit)
	if err != nil {
		return 0
	}
	return n
}

// httpProtocols are those of which proxies understand single requests.
var httpProtocols = []string{"http", "http2", "grpc"}

var bandwidth = regexp.MustCompile(`^(\d+)\s*([kmg])bps$`)

var bandwidthUnits = map[string]uint64{"k": 1e3, "m": 1e6, "g": 1e9}

// ParseBandwidth reads a number of bits a second: a whole number and a unit of
// kbps, mbps, gbps.
func ParseBandwidth(s string) (bitsPerSecond uint64, err error) {
	m := bandwidth.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf(`%q is not a bandwidth; write a whole number and one of kbps, mbps, gbps, as in "50 mbps"`, s)
	}
	n, err := strconv.ParseUint(m[1], 10, 64)
	unit := bandwidthUnits[m[2]]
	switch {
	case err != nil || n > math.MaxInt64/unit:
		return 0, fmt.Errorf("%q is more than can be counted", s)
	case n == 0:
		return 0, fmt.Errorf("%q lets nothing through; use abort to have calls fail", s)
	}
	return n * unit, nil
}

func validatePercentage(path string, p *float64) (v Violations) {
	switch {
	case p == nil:
		v.Add(path, "must be given: of how many of 100 requests, as in 50")
	case !(*p >= 0 && *p <= 100):
		v.Add(path, "must be in the range [0, 100]")
	}
	return v
}

// needDuration wants a duration that is longer than nothing.
func needDuration(path, s string) (v Violations) {
	if s == "" {
		v.Add(path, `must be given, as in "10s"`)
	}
	return append(v, validateDuration(path, s)...)
}

// mustDuration reads a duration that was found valid.
func mustDuration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0
	}
	return d
}
