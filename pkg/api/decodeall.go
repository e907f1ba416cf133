package api

import (
	"bytes"
	"errors"
	"fmt"

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
// JSON document. Empty documents are left out.
func Documents(data []byte) []Document {
	var ds []Document
	for _, c := range split(data) {
		n, twice, err := parse(c.text, c.line)
		if err == nil && n.shape == null {
			continue
		}
		d := Document{Index: len(ds) + 1, Line: c.line, Err: err}
		if err == nil {
			var f filler
			d.Resource = f.resource(nil, n)
			d.Err = append(twice, f.wrong...).Err()
		}
		ds = append(ds, d)
	}
	return ds
}

// DecodeAll reads what Documents reads. Where some are wrong, the error joins a
// *DocumentError for each of them, and no resource is returned.
func DecodeAll(data []byte) ([]mesh.Resource, error) {
	var rs []mesh.Resource
	var errs []error
	for _, d := range Documents(data) {
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

type chunk struct {
	text []byte
	line int // of the first line of text, from 1
}

// split cuts a stream at its lines "---", which YAML allows at the beginning
// of a line for nothing else.
func split(data []byte) []chunk {
	var cs []chunk
	cur := chunk{line: 1}
	line := 1
	for l := range bytes.Lines(data) {
		if isSeparator(l) {
			cs = append(cs, cur)
			cur = chunk{line: line}
		}
		cur.text = append(cur.text, l...)
		line++
	}
	return append(cs, cur)
}

func isSeparator(l []byte) bool {
	rest, ok := bytes.CutPrefix(l, []byte("---"))
	return ok && (len(rest) == 0 || bytes.ContainsRune([]byte(" \t\r\n"), rune(rest[0])))
}
