package mesh

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
)

var parameterName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9]*$`)

// templateFunctions are what a template may call. None makes much of little:
// printf "%1000000d" and range are left out for that.
var templateFunctions = map[string]bool{"label": true, "and": true, "or": true, "not": true, "eq": true, "ne": true, "len": true, "slice": true}

// readTemplate reads a template that anybody may have written.
func readTemplate(text string) (*template.Template, error) {
	t, err := template.New("").Option("missingkey=error").Parse(text)
	if err != nil {
		return nil, fmt.Errorf("is no template: %s", strings.TrimPrefix(err.Error(), "template: :"))
	}
	if t.Tree == nil {
		return nil, errors.New("is an empty template")
	}
	return t, plainTemplate(t.Root)
}

// fillIn executes a template with values.
func fillIn(t *template.Template, values map[string]string) (string, error) {
	var b strings.Builder
	if err := t.Execute(&b, values); err != nil {
		return "", fmt.Errorf("cannot be filled in: every name in {{ }} must be that of a parameter: %w", errors.Unwrap(err))
	}
	return b.String(), nil
}

// plainTemplate accepts what takes no longer than its text is long.
func plainTemplate(n parse.Node) error {
	var parts []parse.Node
	switch n := n.(type) {
	case *parse.ListNode:
		if n != nil {
			parts = n.Nodes
		}
	case *parse.TextNode, *parse.FieldNode, *parse.DotNode, *parse.StringNode, *parse.NumberNode, *parse.BoolNode, *parse.CommentNode:
	case *parse.ActionNode:
		parts = []parse.Node{n.Pipe}
	case *parse.IfNode:
		parts = []parse.Node{n.Pipe, n.List, n.ElseList}
	case *parse.PipeNode:
		if len(n.Decl) > 0 {
			return errors.New("must have no variables; a template may have parameters, if and else")
		}
		for _, c := range n.Cmds {
			parts = append(parts, c.Args...)
		}
	case *parse.IdentifierNode:
		if !templateFunctions[n.Ident] {
			return fmt.Errorf("must not call %s; a template may have parameters, if and else", n.Ident)
		}
	default:
		return fmt.Errorf("must not have %s; a template may have parameters, if and else", n)
	}
	for _, p := range parts {
		if err := plainTemplate(p); err != nil {
			return err
		}
	}
	return nil
}

// virtualHost accepts a DNS name of at least two labels: a name of one label
// is looked up under the host's search domains.
func virtualHost(host string) error {
	host = canonicalHost(host)
	_, err := netip.ParseAddr(host)
	switch {
	case err == nil || len(host) > MaxName || !dnsName.MatchString(host):
		return fmt.Errorf("makes %.64q, which is no DNS name", host)
	case !strings.Contains(host, "."):
		return fmt.Errorf("makes %.64q, which has no dot; resolvers would look for it in other domains, so end it in .mesh or another one", host)
	}
	return nil
}

func canonicalHost(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

func virtualPort(port string) (uint16, error) {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("makes %.16q, which is no port from 1 to 65535", port)
	}
	return uint16(n), nil
}
