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
	n, err := p.value(nil, 0)
	return n, p.twice, err
}

// A place is where a value stands: in which object or list, and there under a
// key or at an index. Its text is made for those who ask.
type place struct {
	in    *place
	key   string
	index int
	isKey bool
}

func (p *place) path() string {
	switch {
	case p == nil:
		return ""
	case p.isKey:
		return child(p.in.path(), p.key)
	default:
		return index(p.in.path(), p.index)
	}
}

type jsonParser struct {
	d     *json.Decoder
	twice mesh.Violations
}

func (p *jsonParser) value(at *place, depth int) (node, error) {
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
		return p.list(at, depth+1)
	}
	return p.object(at, depth+1)
}

func (p *jsonParser) list(at *place, depth int) (node, error) {
	n := node{shape: list}
	here := &place{in: at}
	for p.d.More() {
		here.index = len(n.items)
		item, err := p.value(here, depth)
		if err != nil {
			return node{}, err
		}
		n.items = append(n.items, item)
	}
	_, err := p.d.Token()
	return n, err
}

func (p *jsonParser) object(at *place, depth int) (node, error) {
	n, seen := node{shape: object}, map[string]bool{}
	here := &place{in: at, isKey: true}
	for p.d.More() {
		t, err := p.d.Token()
		if err != nil {
			return node{}, err
		}
		key, _ := t.(string)
		here.key = key
		value, err := p.value(here, depth)
		if err != nil {
			return node{}, err
		}
		if seen[key] {
			if len(p.twice) < maxViolations {
				p.twice.Add(here.path(), "is given twice; keep one")
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
