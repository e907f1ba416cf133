package proxy

// Routes are what an outbound does with a request or a connection.
type Routes struct {
	From Origin `json:"from,omitzero"` // zero: no TrafficRoute is in the mesh
	// Rules are tried in order; the first that matches counts. What none
	// matches fails. TCP knows no rules but those without a Match.
	Rules []Route `json:"rules,omitempty"`
}

// A Route leads what it matches to clusters.
type Route struct {
	Match  *Match     `json:"match,omitempty"`  // nil: everything
	Modify *Modify    `json:"modify,omitempty"` // nil: as it is
	To     []Weighted `json:"to,omitempty"`     // none: fails
	// MemberHost makes the request's host that of the member outside of the
	// mesh that it goes to.
	MemberHost bool `json:"memberHost,omitempty"`
}

// Weighted is one destination of a route. It gets Weight parts of the sum of
// all weights, which is not 0.
type Weighted struct {
	Cluster string `json:"cluster"`
	Weight  uint32 `json:"weight"`
}

// A Match holds for a request that meets all of it.
type Match struct {
	Method  *Text        `json:"method,omitempty"`
	Path    *Text        `json:"path,omitempty"`
	Headers []HeaderText `json:"headers,omitempty"` // sorted by name
}

// A HeaderText is what the value of a header must be.
type HeaderText struct {
	Name string `json:"name"`
	Text
}

// A Text is what a text must be. One of the fields is set; none of them is
// empty. A Regex is RE2 and matches the whole text.
type Text struct {
	Exact  string `json:"exact,omitempty"`
	Prefix string `json:"prefix,omitempty"`
	Regex  string `json:"regex,omitempty"`
}

// Modify is what changes on the way.
type Modify struct {
	Path     *Rewrite `json:"path,omitempty"`
	Host     *Rewrite `json:"host,omitempty"`
	Request  *Headers `json:"request,omitempty"`
	Response *Headers `json:"response,omitempty"`
}

// A Rewrite says what becomes of a path or a host.
type Rewrite struct {
	// Value is the new host; of a path it takes the place of what
	// Match.Path.Prefix matched, and may be empty.
	Value string `json:"value,omitempty"`
	// Pattern and Substitution, where Pattern is not empty, make the new host
	// or path out of the path. \1 stands for what the first group matched.
	Pattern      string `json:"pattern,omitempty"`
	Substitution string `json:"substitution,omitempty"`
}

// Headers are taken away and then added.
type Headers struct {
	Add    []Header `json:"add,omitempty"`
	Remove []string `json:"remove,omitempty"`
}

// A Header is set, or, with Append, added to what is there already.
type Header struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Append bool   `json:"append,omitempty"`
}
