package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// A SyntaxError says that something is no JSON or YAML document at all.
type SyntaxError struct {
	Text string
}

func (e *SyntaxError) Error() string { return "cannot be read: " + e.Text }

// Unwrap makes errors.Is(e, mesh.ErrInvalid) true.
func (e *SyntaxError) Unwrap() error { return mesh.ErrInvalid }

var errDeep = &SyntaxError{Text: "objects and lists are nested more than " + strconv.Itoa(MaxDepth) + " deep"}

// parseJSON reads one valid JSON document. Keys that come twice are violations.
func parseJSON(data []byte) (node, mesh.Violations, error) {
	p := jsonParser{d: json.NewDecoder(bytes.NewReader(data))}
	p.d.UseNumber()
	n, err := p.value("", 0)
	return n, p.twice, err
}

type jsonParser struct {
	d     *json.Decoder
	twice mesh.Violations
}

func (p *jsonParser) value(path string, depth int) (node, error) {
	t, err := p.d.Token()
	if err != nil {
		return node{}, err
	}
	switch t := t.(type) {
	case nil:
		return node{}, nil
	case bool:
		return node{shape: boolean, text: strconv.FormatBool(t)}, nil
	case json.Number:
		return node{shape: number, text: t.String()}, nil
	case string:
		return node{shape: text, text: t}, nil
	}
	if depth == MaxDepth {
		return node{}, errDeep
	}
	if t == json.Delim('[') {
		return p.list(path, depth+1)
	}
	return p.object(path, depth+1)
}

func (p *jsonParser) list(path string, depth int) (node, error) {
	n := node{shape: list}
	for p.d.More() {
		item, err := p.value(index(path, len(n.items)), depth)
		if err != nil {
			return node{}, err
		}
		n.items = append(n.items, item)
	}
	_, err := p.d.Token()
	return n, err
}

func (p *jsonParser) object(path string, depth int) (node, error) {
	n, seen := node{shape: object}, map[string]bool{}
	for p.d.More() {
		t, err := p.d.Token()
		if err != nil {
			return node{}, err
		}
		key, _ := t.(string)
		at := child(path, key)
		value, err := p.value(at, depth)
		if err != nil {
			return node{}, err
		}
		if seen[key] {
			if len(p.twice) < maxViolations {
				p.twice.Add(at, "is given twice; keep one")
			}
			continue
		}
		seen[key] = true
		n.members = append(n.members, member{key, value})
	}
	n.sort()
	_, err := p.d.Token()
	return n, err
}

func (n *node) sort() {
	slices.SortFunc(n.members, func(a, b member) int { return cmp.Compare(a.key, b.key) })
}
