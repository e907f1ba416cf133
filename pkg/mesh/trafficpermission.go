package mesh

// A TrafficPermission lets its sources call its destinations. It takes effect
// where mTLS is on: there, what no permission allows is denied.
type TrafficPermission struct {
	Sources      []Selector `json:"sources,omitempty"`
	Destinations []Selector `json:"destinations,omitempty"`
}

// Validate tells everything that is wrong with it.
func (s *TrafficPermission) Validate() (v Violations) {
	v = append(v, validateSelectors("sources", s.Sources)...)
	return append(v, validateSelectors("destinations", s.Destinations)...)
}
