package api

import (
	"strings"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// ErrorType is the type of every error document.
const ErrorType = "/std-errors"

// An Error is the document that answers a request that failed. Details and
// Causes are copies of Detail and InvalidParameters for older clients.
type Error struct {
	Type              string             `json:"type"`
	Status            int                `json:"status"`
	Title             string             `json:"title"`
	Detail            string             `json:"detail"`
	Instance          string             `json:"instance,omitempty"` // trace id
	InvalidParameters []InvalidParameter `json:"invalid_parameters,omitempty"`
	Details           string             `json:"details"`
	Causes            []Cause            `json:"causes,omitempty"`
}

// An InvalidParameter is one thing that is wrong with a request.
type InvalidParameter struct {
	Field   string   `json:"field"`
	Reason  string   `json:"reason"`
	Rule    string   `json:"rule,omitempty"`
	Choices []string `json:"choices,omitempty"`
}

// A Cause is an InvalidParameter in the older form.
type Cause struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// NewError makes the document of a failure, its copies included. title is the
// action that failed, detail the reason, status the HTTP status.
func NewError(status int, title, detail string, v mesh.Violations) *Error {
	e := &Error{Type: ErrorType, Status: status, Title: title, Detail: detail, Details: detail}
	for _, w := range v {
		e.InvalidParameters = append(e.InvalidParameters, InvalidParameter{Field: w.Field, Reason: w.Reason})
		e.Causes = append(e.Causes, Cause{Field: w.Field, Message: w.Reason})
	}
	return e
}

// Error returns "title (detail)" and a line "* field: message" for each thing
// that is wrong.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Title)
	if e.Detail != "" {
		b.WriteString(" (" + e.Detail + ")")
	}
	for _, c := range e.causes() {
		b.WriteString("\n* ")
		if c.Field != "" {
			b.WriteString(c.Field + ": ")
		}
		b.WriteString(c.Message)
	}
	return b.String()
}

// causes reads whichever of the two copies is there.
func (e *Error) causes() []Cause {
	if len(e.InvalidParameters) == 0 {
		return e.Causes
	}
	cs := make([]Cause, len(e.InvalidParameters))
	for i, p := range e.InvalidParameters {
		cs[i] = Cause{Field: p.Field, Message: p.Reason}
	}
	return cs
}
