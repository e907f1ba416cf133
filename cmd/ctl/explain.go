package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/api"
)

func explainCommand(g *global) *cobra.Command {
	var q api.Question
	var output string
	cmd := &cobra.Command{
		Use:   "explain FROM TO",
		Short: "Tell what becomes of a call from one service to another, and why",
		Long: `Tells what becomes of a call: whether it is allowed, and which policy decides;
which route it takes and to which endpoints; which other policies apply, with
which values. It says what proxies are told, and calls nobody.

Each side is a service, a dataplane, or tags such as
kuma.io/service=web,version=v1. An arrow may stand between them, in quotes,
as the shell takes > for itself.`,
		Example: "  weftctl explain web api --path /cart --method POST\n  weftctl explain 'web -> api'",
		Args:    cobra.RangeArgs(1, 3),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if q.From, q.To, err = sides(args); err != nil {
				return err
			}
			if err := knownOutput(output, outputs); err != nil {
				return err
			}
			c, err := g.client()
			if err != nil {
				return err
			}
			e, err := c.Explain(cmd.Context(), g.mesh, q)
			if err != nil {
				return fault{inMesh(g.mesh, err)}
			}
			if output != outputText {
				return faultOrNil(g.document(output, e))
			}
			return faultOrNil(printExplanation(g.out, q, e))
		},
	}
	cmd.Flags().StringVar(&q.Path, "path", "", "path of the request; default /")
	cmd.Flags().StringVar(&q.Method, "method", "", "method of the request; default GET")
	cmd.Flags().StringArrayVar(&q.Headers, "header", nil, "header of the request, name:value; may be given again")
	outputFlag(cmd, &output)
	return cmd
}

// sides reads "web api", "web to api" and "web -> api", in one argument or in
// several.
func sides(args []string) (from, to string, err error) {
	words := strings.Fields(strings.ReplaceAll(strings.Join(args, " "), "->", " -> "))
	if len(words) == 3 && (words[1] == "->" || words[1] == "to") {
		words = []string{words[0], words[2]}
	}
	switch {
	case len(words) == 2 && words[1] == "-":
		return "", "", errors.New("the shell took the > and what follows it as a file: write `weftctl explain FROM TO`, or put quotes around the arrow")
	case len(words) != 2 || words[0] == "->" || words[1] == "->":
		return "", "", fmt.Errorf("%q does not say who calls whom: write `weftctl explain FROM TO`", strings.Join(args, " "))
	}
	return words[0], words[1], nil
}

func printExplanation(out io.Writer, q api.Question, e *api.Explanation) error {
	request := strings.TrimSpace(q.Method + " " + q.Path)
	if request != "" {
		request = " " + request
	}
	fmt.Fprintf(out, "%s -> %s%s: %s\n", e.From.Asked, e.To.Asked, request, e.Verdict)
	for _, why := range e.Why {
		fmt.Fprintf(out, "  %s\n", why)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { fmt.Fprintln(w, strings.Join(cells, "\t")) }
	row("")
	named := clusters(e.Route)
	row("caller", e.From.Dataplane+others(e.From.Others))
	if o := e.Outbound; o != nil {
		row("outbound", fmt.Sprintf("%s at %s, %s", o.Name, strings.Join(o.Listen, ", "), o.Protocol))
	}
	if r := e.Route; r != nil {
		row("route", route(r, named))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(e.Effects) > 0 {
		fmt.Fprintln(out, "\npolicies")
		for _, f := range e.Effects {
			from := f.From
			if from == "" {
				from = "default"
			}
			where := f.Where
			if name, ok := strings.CutPrefix(where, "cluster "); ok {
				where = "to " + named(name)
			}
			row("  "+where, f.What, from, oneLine(f.Values))
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if len(e.Endpoints) > 0 {
		fmt.Fprintln(out, "\nendpoints")
		for _, p := range e.Endpoints {
			row("  "+p.Address, named(p.Cluster), p.Dataplane, or(p.Connected, "connected", "not connected"), or(p.Allowed, "allowed", "denied"))
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if e.MoreEndpoints > 0 {
			fmt.Fprintf(out, "  and %d more, which were not looked at\n", e.MoreEndpoints)
		}
	}
	for i, f := range e.Warnings {
		if i == 0 {
			fmt.Fprintln(out, "\nwarnings")
		}
		fmt.Fprintf(out, "  %s: %s\n", f.Part, f.Text)
	}
	return nil
}

// oneLine takes the line breaks out of a JSON document.
func oneLine(doc json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, doc) != nil {
		return string(doc)
	}
	return b.String()
}

// clusters calls clusters by what is in them: api{version=v2}. A name by which
// proxies know a part of a service says nothing to people.
func clusters(r *api.ExplainedRoute) func(cluster string) string {
	names := map[string]string{}
	if r != nil {
		for _, d := range r.To {
			var tags []string
			for _, k := range slices.Sorted(maps.Keys(d.Tags)) {
				tags = append(tags, k+"="+d.Tags[k])
			}
			if len(tags) > 0 {
				names[d.Cluster] = d.Service + "{" + strings.Join(tags, ",") + "}"
			}
		}
	}
	return func(cluster string) string { return cmp.Or(names[cluster], cluster) }
}

func others(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", the first by name of %d", n+1)
}

func route(r *api.ExplainedRoute, named func(string) string) string {
	from := r.From
	if from == "" {
		from = "none is configured"
	}
	var to []string
	for _, d := range r.To {
		to = append(to, fmt.Sprintf("%s %d%%", named(d.Cluster), d.Percent))
	}
	return fmt.Sprintf("%s, rule %d of %d: %s -> %s", from, r.Rule+1, r.Of, r.Match, strings.Join(to, ", "))
}

func or(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}
