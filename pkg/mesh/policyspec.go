package mesh

// The shapes that policies by targetRef have. C is what one of them sets.

// A Whole policy sets one thing for the proxies that it chooses.
type Whole[C any] struct {
	TargetRef *TargetRef `json:"targetRef,omitempty"` // which proxies; none means all of the mesh
	Default   *C         `json:"default,omitempty"`
}

// An Outward policy is for what the proxies that it chooses call.
type Outward[C any] struct {
	TargetRef *TargetRef    `json:"targetRef,omitempty"` // which proxies; none means all of the mesh
	To        []Targeted[C] `json:"to,omitempty"`
}

// An Inward policy is for who calls the proxies that it chooses.
type Inward[C any] struct {
	TargetRef *TargetRef    `json:"targetRef,omitempty"` // which proxies; none means all of the mesh
	From      []Targeted[C] `json:"from,omitempty"`      // the older form of rules
	Rules     []Ruled[C]    `json:"rules,omitempty"`
}

// A BothWays policy is for both.
type BothWays[C any] struct {
	TargetRef *TargetRef    `json:"targetRef,omitempty"` // which proxies; none means all of the mesh
	To        []Targeted[C] `json:"to,omitempty"`        // for what they call
	From      []Targeted[C] `json:"from,omitempty"`      // for who calls them: the older form of rules
	Rules     []Ruled[C]    `json:"rules,omitempty"`     // for who calls them
}

// A Targeted holds for calls to, or from, what TargetRef names.
type Targeted[C any] struct {
	TargetRef *TargetRef `json:"targetRef,omitempty"`
	Default   *C         `json:"default,omitempty"`
}

// A Ruled holds for calls by clients that match; without matches, for all.
type Ruled[C any] struct {
	Matches []ClientMatch `json:"matches,omitempty"` // one of them is enough
	Default *C            `json:"default,omitempty"`
}

// A ClientMatch picks clients by who they are, or by the name that they ask
// for.
type ClientMatch struct {
	SpiffeID *TextMatch `json:"spiffeID,omitempty"` // Exact or Prefix
	SNI      *TextMatch `json:"sni,omitempty"`      // Exact
}

// A TextMatch compares a text.
type TextMatch struct {
	Type  string `json:"type,omitempty"`
	Value string `json:"value,omitempty"`
}
