package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/api"
)

func diffCommand(g *global) *cobra.Command {
	var in input
	var output string
	cmd := &cobra.Command{
		Use:   "diff -f FILE",
		Short: "Show what applying files would change, in resources and in proxies",
		Long: `Shows what applying YAML or JSON files would change, and changes nothing:
which resources would become what, or would be refused and why; and which
proxies would be told something else, with the words of their plans that
differ. Proxies that change alike stand together.`,
		Example: "  weftctl diff -f timeouts.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := knownOutput(output, outputs); err != nil {
				return err
			}
			return g.diff(cmd.Context(), in, output)
		},
	}
	in.flags(cmd)
	outputFlag(cmd, &output)
	return cmd
}

func (g *global) diff(ctx context.Context, in input, output string) error {
	c, err := g.client()
	if err != nil {
		return err
	}
	rs, err := g.read(in)
	if err != nil {
		return fault{err}
	}
	d, err := c.Diff(ctx, rs)
	if err != nil {
		return fault{inMesh(rs[0].Meta.Mesh, err)} // one is not there only where all are in it
	}
	if output != outputText {
		return faultOrNil(g.document(output, d))
	}
	printDifference(g.out, d)
	for _, r := range d.Resources {
		if r.Change == api.ChangeRefused {
			return fault{fmt.Errorf("applying these files would be refused, at least in part")}
		}
	}
	return nil
}

func printDifference(w io.Writer, d *api.Difference) {
	often := repeated(d.Resources)
	became := map[string]int{}
	for _, r := range d.Resources {
		name := fmt.Sprintf("%s %q", r.Type, r.Name)
		if r.Mesh != "" {
			name += fmt.Sprintf(" in mesh %q", r.Mesh)
		}
		fmt.Fprintf(w, "%s: %s\n", name, r.Change)
		became[r.Change]++
		if r.Error != nil {
			fmt.Fprint(w, inset(r.Error.Error()+"\n"))
		}
		for _, warning := range r.Warnings {
			if often[warning] == 0 {
				fmt.Fprintf(w, "  warning: %s\n", warning)
			}
		}
		fmt.Fprint(w, inset(r.Diff))
	}
	for _, warning := range slices.Sorted(maps.Keys(often)) {
		fmt.Fprintf(w, "\nwarning, of %d resources: %s\n", often[warning], warning)
	}
	for _, p := range d.Proxies {
		more := ""
		if p.More > 0 {
			more = fmt.Sprintf(" and %d more", p.More)
		}
		fmt.Fprintf(w, "\nplans of %s%s in mesh %q:\n%s", strings.Join(p.Proxies, ", "), more, p.Mesh, inset(p.Diff))
		leftOut(w, p.Cut)
	}
	for _, s := range d.Shared {
		fmt.Fprintf(w, "\n%s, for every proxy of mesh %q that calls it:\n%s", s.What, s.Mesh, inset(s.Diff))
		leftOut(w, s.Cut)
	}
	summary(w, d, became)
}

// repeated are the warnings that many resources have, with how many have them.
func repeated(all []api.ResourceChange) map[string]int {
	const few = 3
	n := map[string]int{}
	for _, r := range all {
		for _, warning := range r.Warnings {
			n[warning]++
		}
	}
	maps.DeleteFunc(n, func(_ string, n int) bool { return n <= few })
	return n
}

// summary tells what became of all.
func summary(w io.Writer, d *api.Difference, became map[string]int) {
	var parts []string
	for _, change := range []string{api.ChangeCreated, api.ChangeUpdated, api.ChangeDeleted, api.ChangeRefused, api.ChangeUnchanged} {
		if n := became[change]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, change))
		}
	}
	changed := 0
	for _, p := range d.Proxies {
		changed += len(p.Proxies) + p.More
	}
	told := "no proxy would be told something else"
	if changed > 0 {
		told = fmt.Sprintf("%d of %d proxies would be told something else", changed, d.Of)
	}
	fmt.Fprintf(w, "\n%s; %s\n", strings.Join(parts, ", "), told)
	if d.Looked < d.Of {
		fmt.Fprintf(w, "time was up after %d of %d: there may be more\n", d.Looked, d.Of)
	}
}

func leftOut(w io.Writer, lines int) {
	if lines > 0 {
		fmt.Fprintf(w, "  … and %d lines more\n", lines)
	}
}

// inset puts two spaces before each line.
func inset(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("  " + line)
	}
	return b.String()
}
