package proxy

// A Caller is known by its tags and must carry all of these; "*" stands for
// whatever value the tag has. The service tag is never "*": everybody has one.
//
// Where callers show certificates those tell the tags, and whoever shows none
// has no tags. In a mesh without mTLS the caller's proxy says them.
type Caller map[string]string

// A Fault makes calls go wrong.
type Fault struct {
	From Origin `json:"from,omitzero"`
	// Callers are those to whom it happens; none: everybody.
	Callers   []Caller   `json:"callers,omitempty"`
	Delay     *Delay     `json:"delay,omitempty"`
	Abort     *Abort     `json:"abort,omitempty"`
	Bandwidth *Bandwidth `json:"bandwidth,omitempty"`
}

// A Delay holds a request up before the workload sees it.
type Delay struct {
	Percent float64  `json:"percent"` // of the requests
	For     Duration `json:"for"`
}

// An Abort answers in place of the workload.
type Abort struct {
	Percent float64 `json:"percent"`
	Status  uint32  `json:"status"`
}

// A Bandwidth slows the bodies of answers down.
type Bandwidth struct {
	Percent       float64 `json:"percent"`
	BitsPerSecond uint64  `json:"bitsPerSecond"`
}

// A RateLimit lets so many requests through in each interval, all callers
// taken together.
type RateLimit struct {
	From     Origin   `json:"from,omitzero"`
	Callers  []Caller `json:"callers,omitempty"` // none: everybody
	Requests uint32   `json:"requests"`
	Interval Duration `json:"interval"`
	Status   uint32   `json:"status"`            // of the answer to requests beyond it
	Headers  []Header `json:"headers,omitempty"` // of that answer
}
