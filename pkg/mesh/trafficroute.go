package mesh

import "maps"

// A TrafficRoute says where calls of its sources to its destinations go.
type TrafficRoute struct {
	Sources      []Selector        `json:"sources,omitempty"`
	Destinations []Selector        `json:"destinations,omitempty"`
	Conf         *TrafficRouteConf `json:"conf,omitempty"`
}

// A TrafficRouteConf leads to Destination, or to several in shares. HTTP comes
// before that, in its order. Where tags ask for the service "*", it is the one
// that was called, with what was asked of it.
type TrafficRouteConf struct {
	LoadBalancer *LoadBalancer `json:"loadBalancer,omitempty"` // default roundRobin
	Split        []RouteSplit  `json:"split,omitempty"`
	Destination  Tags          `json:"destination,omitempty"`
	HTTP         []HTTPRoute   `json:"http,omitempty"`
}

// A RouteSplit gets Weight parts of the sum of all weights.
type RouteSplit struct {
	Weight      uint32 `json:"weight"`
	Destination Tags   `json:"destination,omitempty"`
}

// A LoadBalancer is one of its fields.
type LoadBalancer struct {
	RoundRobin   *RoundRobin   `json:"roundRobin,omitempty"`
	LeastRequest *LeastRequest `json:"leastRequest,omitempty"`
	RingHash     *RingHash     `json:"ringHash,omitempty"`
	Random       *Random       `json:"random,omitempty"`
	Maglev       *Maglev       `json:"maglev,omitempty"`
}

// RoundRobin takes one endpoint after the other.
type RoundRobin struct{}

// LeastRequest takes the least busy of some random endpoints.
type LeastRequest struct {
	ChoiceCount uint32 `json:"choiceCount,omitempty"` // of how many; default 2
}

// RingHash takes the same endpoint for the same caller.
type RingHash struct {
	HashFunction string `json:"hashFunction,omitempty"` // XX_HASH (default), MURMUR_HASH_2
	MinRingSize  uint64 `json:"minRingSize,omitempty"`  // default 1024
	MaxRingSize  uint64 `json:"maxRingSize,omitempty"`  // default 8388608, which is also the most
}

// Random takes any endpoint.
type Random struct{}

// Maglev takes the same endpoint for the same caller, by a table that is
// quicker to read than a ring.
type Maglev struct{}

// An HTTPRoute leads requests that match elsewhere.
type HTTPRoute struct {
	Match       *HTTPMatch   `json:"match,omitempty"`
	Modify      *HTTPModify  `json:"modify,omitempty"`
	Split       []RouteSplit `json:"split,omitempty"`
	Destination Tags         `json:"destination,omitempty"`
}

// An HTTPMatch holds for requests that meet all of it.
type HTTPMatch struct {
	Method  *StringMatcher           `json:"method,omitempty"`
	Path    *StringMatcher           `json:"path,omitempty"` // without the query
	Headers map[string]StringMatcher `json:"headers,omitempty"`
}

// A StringMatcher is one of its fields. A regex is RE2 and matches the whole.
type StringMatcher struct {
	Prefix string `json:"prefix,omitempty"`
	Exact  string `json:"exact,omitempty"`
	Regex  string `json:"regex,omitempty"`
}

// HTTPModify is what changes in a request and its answer.
type HTTPModify struct {
	Path            *PathModify    `json:"path,omitempty"`
	Host            *HostModify    `json:"host,omitempty"`
	RequestHeaders  *HeadersModify `json:"requestHeaders,omitempty"`
	ResponseHeaders *HeadersModify `json:"responseHeaders,omitempty"`
}

// A PathModify is one of its fields.
type PathModify struct {
	RewritePrefix string        `json:"rewritePrefix,omitempty"` // in place of what match.path.prefix matched
	Regex         *RegexReplace `json:"regex,omitempty"`
}

// A HostModify is one of its fields.
type HostModify struct {
	Value    string        `json:"value,omitempty"`
	FromPath *RegexReplace `json:"fromPath,omitempty"`
}

// A RegexReplace puts Substitution in the place of what Pattern matches; \1 in
// it is what the first group matched.
type RegexReplace struct {
	Pattern      string `json:"pattern,omitempty"`
	Substitution string `json:"substitution,omitempty"`
}

// A HeadersModify takes headers away and adds others.
type HeadersModify struct {
	Add    []HeaderAdd    `json:"add,omitempty"`
	Remove []HeaderRemove `json:"remove,omitempty"`
}

// A HeaderAdd sets a header, or, with Append, adds a value to it.
type HeaderAdd struct {
	Name   string `json:"name,omitempty"`
	Value  string `json:"value,omitempty"`
	Append bool   `json:"append,omitempty"`
}

// A HeaderRemove takes away all values of a header.
type HeaderRemove struct {
	Name string `json:"name,omitempty"`
}

// Targets returns the tags of all destinations, as they are written.
func (c *TrafficRouteConf) Targets() (all []Tags) {
	add := func(split []RouteSplit, destination Tags) {
		if len(destination) > 0 {
			all = append(all, destination)
		}
		for _, s := range split {
			all = append(all, s.Destination)
		}
	}
	if c == nil {
		return nil
	}
	for _, h := range c.HTTP {
		add(h.Split, h.Destination)
	}
	add(c.Split, c.Destination)
	return all
}

// Target returns what a destination means for calls of what has the tags of
// called: the service "*" is what was called, with what was asked of it.
func (t Tags) Target(called Tags) Tags {
	if t.Service() != Any {
		return t
	}
	target := maps.Clone(called)
	for k, v := range t {
		if _, asked := called[k]; v != Any || !asked {
			target[k] = v
		}
	}
	return target
}
