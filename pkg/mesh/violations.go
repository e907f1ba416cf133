package mesh

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrInvalid is what every error about a document's content wraps.
var ErrInvalid = errors.New("resource is not valid")

// A Violation is one thing that is wrong with a document, and where.
type Violation struct {
	Field  string // `networking.inbound[0].tags["kuma.io/service"]`; "" for the whole
	Reason string // in words its author can act on
}

// Violations are all that is wrong with one document. As an error they wrap
// ErrInvalid; a nil or empty list is no error, see Err.
type Violations []Violation

// MaxViolations is how many an error tells. A document of 1 MB can have
// hundreds of thousands, and its author sends it again after a few.
const MaxViolations = 100

// Add notes one more violation. The reason takes fmt verbs.
func (v *Violations) Add(field, reason string, args ...any) {
	*v = append(*v, Violation{Field: field, Reason: fmt.Sprintf(reason, args...)})
}

// Err returns v as an error, or nil where nothing is wrong. Beyond
// MaxViolations it only counts.
func (v Violations) Err() error {
	if len(v) == 0 {
		return nil
	}
	return v.told()
}

func (v Violations) told() Violations {
	if len(v) <= MaxViolations {
		return v
	}
	told := slices.Clone(v[:MaxViolations-1])
	told.Add("", "and %d more", len(v)-len(told))
	return told
}

func (v Violations) Error() string {
	var b strings.Builder
	for i, w := range v.told() {
		if i > 0 {
			b.WriteString("; ")
		}
		if w.Field != "" {
			b.WriteString(w.Field + ": ")
		}
		b.WriteString(w.Reason)
	}
	return b.String()
}

// Unwrap makes errors.Is(v, ErrInvalid) true.
func (v Violations) Unwrap() error { return ErrInvalid }
