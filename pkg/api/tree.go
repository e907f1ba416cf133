package api

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// Limits on documents. They bound what one request can cost.
const (
	// MaxDocument is the longest document, in bytes.
	MaxDocument = 1 << 20
	// MaxDepth is how deep objects and lists may nest.
	MaxDepth = 64
	// maxItems is how many items a list has at most, and how many entries a
	// map: what is said of each, and what is wrong with it, takes many times
	// the bytes that it is written in.
	maxItems = 10_000
	// maxValues is how many values a document has at most, as they are counted by
	// what stands between them: a parser of YAML takes a microsecond or two for
	// each, before anything can be said of it.
	maxValues = 40_000
	// maxExpanded bounds a document once its YAML aliases are written out: the
	// bytes of all scalars and keys, and nodeCost for each node.
	maxExpanded = 4 * MaxDocument
	nodeCost    = 8
	// maxViolations is how many faults of one document are told.
	maxViolations = mesh.MaxViolations
)

// A shape is what JSON knows.
type shape int

const (
	null shape = iota
	boolean
	number
	text
	list
	object
)

func (s shape) String() string {
	return [...]string{"null", "true or false", "a number", "text", "a list", "an object"}[s]
}

// A node is one value of a document, whether it was JSON or YAML.
type node struct {
	shape   shape
	text    string // of a boolean, a number, a text
	items   []node
	members []member // no key twice, in order of the keys
}

type member struct {
	key   string
	value node
}

// json returns n as compact JSON.
func (n node) json() []byte {
	var b bytes.Buffer
	n.write(&b)
	return b.Bytes()
}

func (n node) write(b *bytes.Buffer) {
	switch n.shape {
	case null:
		b.WriteString("null")
	case boolean, number:
		b.WriteString(n.text)
	case text:
		writeText(b, n.text)
	case list:
		b.WriteByte('[')
		for i, item := range n.items {
			if i > 0 {
				b.WriteByte(',')
			}
			item.write(b)
		}
		b.WriteByte(']')
	case object:
		b.WriteByte('{')
		for i, m := range n.members {
			if i > 0 {
				b.WriteByte(',')
			}
			writeText(b, m.key)
			b.WriteByte(':')
			m.value.write(b)
		}
		b.WriteByte('}')
	}
}

// writeText writes s as a JSON string, with "<", ">" and "&" as they are.
func writeText(b *bytes.Buffer, s string) {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err) // strings always encode
	}
	b.Truncate(b.Len() - 1) // Encode ends with a line feed
}

// describe says what n is, for people, without repeating long texts.
func (n node) describe() string {
	switch n.shape {
	case boolean:
		return n.text
	case number:
		return "the number " + shorten(n.text)
	case text:
		return "the text " + strconv.Quote(shorten(n.text))
	default:
		return n.shape.String()
	}
}

// shorten cuts what a message quotes.
func shorten(s string) string {
	const longest = 64
	if len(s) <= longest {
		return s
	}
	return s[:longest] + "…"
}
