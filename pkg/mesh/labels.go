package mesh

import "encoding/json"

// Labels are what a resource carries beside its name. As a pointer, none and
// an empty set are two things.
type Labels map[string]string

// MarshalJSON keeps an empty set apart from none.
func (l Labels) MarshalJSON() ([]byte, error) {
	if l == nil {
		l = Labels{}
	}
	return json.Marshal(map[string]string(l))
}
