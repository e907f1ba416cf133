package proxy

import "fmt"

// An Origin is the policy from which a value of the plan comes, so that people
// can be told. The zero one is the plan itself: no policy had a say.
type Origin struct {
	Kind string // "Timeout"
	Name string
}

// MarshalText prints an origin as people name it: Timeout "t1".
func (o Origin) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

func (o Origin) String() string {
	if o == (Origin{}) {
		return ""
	}
	return fmt.Sprintf("%s %q", o.Kind, o.Name)
}
