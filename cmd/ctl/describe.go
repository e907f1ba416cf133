package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/mesh"
)

func describeCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "describe KIND NAME",
		Short: "Show a resource, how old it is, and what it acts on",
		Long: `Shows a resource for people to read: what it is called, since when, whether it
has an effect, which dataplanes it acts on, or how its proxy fares, and then
what it says. -o yaml of get is for programs.`,
		Example:           "  weftctl describe dataplane web-1\n  weftctl describe timeout api",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: g.completeKindAndName,
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := kindNamed(args[0])
			if err != nil {
				return err
			}
			if err := nameTyped(args[1]); err != nil {
				return err
			}
			return g.describe(cmd.Context(), k, args[1])
		},
	}
}

func (g *global) describe(ctx context.Context, k *mesh.Kind, name string) error {
	c, err := g.client()
	if err != nil {
		return err
	}
	r, err := c.Get(ctx, k, g.meshOf(k), name)
	if err != nil {
		return fault{about(mesh.Key{Kind: k.Name, Mesh: g.meshOf(k), Name: name}, err)}
	}
	line := func(head, text string, args ...any) {
		if text = fmt.Sprintf(text, args...); text != "" {
			fmt.Fprintf(g.out, "%-12s %s\n", head+":", text)
		}
	}
	line("Kind", "%s", k.Name)
	line("Mesh", "%s", r.Meta.Mesh)
	line("Name", "%s", r.Meta.Name)
	line("Created", "%s", g.moment(r.Meta.Created))
	line("Modified", "%s", g.moment(r.Meta.Modified))
	for _, key := range slices.Sorted(maps.Keys(r.Meta.Labels)) {
		line("Label", "%s=%s", key, r.Meta.Labels[key])
	}
	line("Note", "%s", k.Note())
	switch {
	case k == mesh.DataplaneKind:
		g.proxy(ctx, c, r, line)
	case k.Policy != nil && k.Pending == "":
		g.affected(ctx, c, r, line)
	}
	doc, err := api.EncodePlain(mesh.Resource{Kind: k, Meta: mesh.Meta{Mesh: r.Meta.Mesh, Name: r.Meta.Name}, Spec: r.Spec})
	if err == nil {
		doc, err = api.ToYAML(doc)
	}
	if err != nil {
		return fault{err}
	}
	fmt.Fprintf(g.out, "\n%s", doc)
	return nil
}

// moment is a time and how long ago it was.
func (g *global) moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return fmt.Sprintf("%s (%s ago)", t.UTC().Format(time.RFC3339), age(t, g.now()))
}

// affected tells which dataplanes a policy acts on. Who may not know is told
// so.
func (g *global) affected(ctx context.Context, c *api.Client, r mesh.Resource, line func(head, text string, args ...any)) {
	total, names, err := c.Affected(ctx, r.Kind, r.Meta.Mesh, r.Meta.Name)
	const most = 10
	switch more := total - most; {
	case err != nil:
		line("Dataplanes", "unknown: %s", firstLine(err))
	case total == 0:
		line("Dataplanes", "it acts on none")
	case more > 0 && len(names) >= most:
		line("Dataplanes", "%d: %s and %d more", total, strings.Join(names[:most], ", "), more)
	default:
		line("Dataplanes", "%d: %s", total, strings.Join(names, ", "))
	}
}

// proxy tells how the proxy of a dataplane fares.
func (g *global) proxy(ctx context.Context, c *api.Client, r mesh.Resource, line func(head, text string, args ...any)) {
	in, err := c.DataplaneInsight(ctx, r.Meta.Mesh, r.Meta.Name)
	if err != nil {
		line("Proxy", "unknown: %s", firstLine(err))
		return
	}
	last := len(in.Subscriptions) - 1
	if last < 0 || !in.Subscriptions[last].DisconnectTime.IsZero() {
		line("Proxy", "not connected")
	} else {
		line("Proxy", "connected since %s", g.moment(in.Subscriptions[last].ConnectTime))
	}
	if in.Weft == nil {
		return
	}
	line("Problem", "%s", in.Weft.Problem)
	for _, w := range in.Weft.Warnings {
		line("Warning", "%s: %s", w.Part, w.Text)
	}
	for _, w := range in.Weft.Refused {
		line("Refused", "%s %s: %s", w.Type, strings.Join(w.Resources, ", "), w.Reason)
	}
}

func firstLine(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}
