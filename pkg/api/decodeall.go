package api

import (
	"bytes"
	"errors"
	"fmt"
	"iter"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// A DocumentError says which of several documents is wrong.
type DocumentError struct {
	Index int // from 1, empty documents not counted
	Line  int // at which the document begins, from 1
	Err   error
}

func (e *DocumentError) Error() string {
	return fmt.Sprintf("document %d (line %d): %s", e.Index, e.Line, e.Err)
}

func (e *DocumentError) Unwrap() error { return e.Err }

// A Document is one of several, read or refused.
type Document struct {
	Index    int // from 1, empty documents not counted
	Line     int // at which the document begins, from 1
	Resource mesh.Resource
	Err      error // as from Decode; nil where Resource is good
}

// Documents reads YAML documents that are separated by lines "---", or one
// JSON document, one after the other: who stops has read no more. Empty
// documents are left out.
func Documents(data []byte) iter.Seq[Document] {
	return func(yield func(Document) bool) {
		index := 0
		for text, line := range split(data) {
			n, twice, err := parse(text, line)
			if err == nil && n.shape == null {
				continue
			}
			index++
			d := Document{Index: index, Line: line, Err: err}
			if err == nil {
				var f filler
				d.Resource = f.resource(nil, n)
				d.Err = append(twice, f.wrong...).Err()
			}
			if !yield(d) {
				return
			}
		}
	}
}

// DecodeAll reads what Documents reads. Where some are wrong, the error joins a
// *DocumentError for each of them, and no resource is returned.
func DecodeAll(data []byte) ([]mesh.Resource, error) {
	var rs []mesh.Resource
	var errs []error
	for d := range Documents(data) {
		if d.Err != nil {
			errs = append(errs, &DocumentError{Index: d.Index, Line: d.Line, Err: d.Err})
		}
		rs = append(rs, d.Resource)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return rs, nil
}

// split cuts a stream at its lines "---", which YAML allows at the beginning
// of a line for nothing else. With each piece comes the number of its first
// line, from 1.
func split(data []byte) iter.Seq2[[]byte, int] {
	return func(yield func([]byte, int) bool) {
		begins, line, first := 0, 1, 1
		at := 0
		for l := range bytes.Lines(data) {
			if isSeparator(l) && at > 0 {
				if !yield(data[begins:at], first) {
					return
				}
				begins, first = at, line
			}
			at += len(l)
			line++
		}
		yield(data[begins:], first)
	}
}

func isSeparator(l []byte) bool {
	rest, ok := bytes.CutPrefix(l, []byte("---"))
	return ok && (len(rest) == 0 || bytes.ContainsRune([]byte(" \t\r\n"), rune(rest[0])))
}
