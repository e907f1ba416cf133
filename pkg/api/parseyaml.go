package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v2"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// parseYAML reads one document. Keys that come twice are violations. A chunk
// that holds nothing but comments is a null. Messages count lines from first.
func parseYAML(data []byte, first int) (node, mesh.Violations, error) {
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.SetStrict(true)
	var x any
	var twice mesh.Violations
	err := d.Decode(&x)
	if wrong, ok := errors.AsType[*yaml.TypeError](err); ok {
		for _, e := range wrong.Errors[:min(len(wrong.Errors), maxViolations)] {
			twice.Add("", "%s; keep one", yamlMessage(e, first))
		}
		err = nil
	}
	switch {
	case errors.Is(err, io.EOF):
		return node{}, nil, nil
	case err != nil:
		return node{}, nil, &SyntaxError{Text: yamlMessage(err.Error(), first)}
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return node{}, nil, &SyntaxError{Text: `something follows the end of the document; separate documents by a line "---"`}
	}
	budget := maxExpanded
	n, err := fromYAML(x, 0, &budget)
	return n, twice, err
}

var yamlLine = regexp.MustCompile(`^(?:yaml: )?line (\d+): `)

// yamlMessage keeps a parser's message to a line of bearable length and makes
// its line number that of the whole file.
func yamlMessage(s string, first int) string {
	s, _, _ = strings.Cut(s, "\n")
	if m := yamlLine.FindStringSubmatch(s); m != nil {
		line, _ := strconv.Atoi(m[1])
		s = fmt.Sprintf("line %d: %s", line+first-1, s[len(m[0]):])
	}
	if s = strings.TrimPrefix(s, "yaml: "); len(s) > 200 {
		s = s[:200] + "…"
	}
	return s
}

// fromYAML copies what the YAML parser made. budget is what the copy may still
// cost, aliases written out.
func fromYAML(x any, depth int, budget *int) (node, error) {
	if depth > MaxDepth {
		return node{}, errDeep
	}
	if err := spend(budget, 0); err != nil {
		return node{}, err
	}
	switch x := x.(type) {
	case nil:
		return node{}, nil
	case []any:
		n := node{shape: list, items: make([]node, len(x))}
		for i, item := range x {
			var err error
			if n.items[i], err = fromYAML(item, depth+1, budget); err != nil {
				return node{}, err
			}
		}
		return n, nil
	case map[any]any:
		n := node{shape: object, members: make([]member, 0, len(x))}
		for k, v := range x {
			key, err := yamlKey(k)
			if err != nil {
				return node{}, err
			}
			if err := spend(budget, len(key)); err != nil {
				return node{}, err
			}
			value, err := fromYAML(v, depth+1, budget)
			if err != nil {
				return node{}, err
			}
			n.members = append(n.members, member{key, value})
		}
		n.sort()
		for i := 1; i < len(n.members); i++ { // 1 and "1"
			if n.members[i].key == n.members[i-1].key {
				return node{}, &SyntaxError{Text: fmt.Sprintf("key %q is given twice", shorten(n.members[i].key))}
			}
		}
		return n, nil
	}
	n, err := yamlScalar(x)
	if err != nil {
		return node{}, err
	}
	return n, spend(budget, len(n.text))
}

func spend(budget *int, bytes int) error {
	*budget -= nodeCost + bytes
	if *budget < 0 {
		return &SyntaxError{Text: fmt.Sprintf("has more than %d bytes once its aliases are written out", maxExpanded)}
	}
	return nil
}

func yamlKey(k any) (string, error) {
	switch k.(type) {
	case nil:
		return "", &SyntaxError{Text: "a key is empty"}
	case map[any]any, []any:
		return "", &SyntaxError{Text: "a key must be a word, not a list or an object"}
	}
	n, err := yamlScalar(k)
	return n.text, err
}

func yamlScalar(x any) (node, error) {
	switch x := x.(type) {
	case bool:
		return node{shape: boolean, text: strconv.FormatBool(x)}, nil
	case string:
		return node{shape: text, text: strings.ToValidUTF8(x, "\uFFFD")}, nil
	case int:
		return node{shape: number, text: strconv.Itoa(x)}, nil
	case int64:
		return node{shape: number, text: strconv.FormatInt(x, 10)}, nil
	case uint64:
		return node{shape: number, text: strconv.FormatUint(x, 10)}, nil
	case float64:
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return node{}, &SyntaxError{Text: "infinity and not-a-number are no numbers here"}
		}
		return node{shape: number, text: strconv.FormatFloat(x, 'g', -1, 64)}, nil
	default:
		return node{}, &SyntaxError{Text: fmt.Sprintf("a value of type %T is not supported; write it in quotes", x)}
	}
}
