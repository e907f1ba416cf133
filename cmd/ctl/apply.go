package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/mesh"
)

func applyCommand(g *global) *cobra.Command {
	var in input
	var dry bool
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Create or update resources from YAML or JSON files",
		Long: `Creates or updates resources from YAML or JSON files.

A file may hold several YAML documents with lines "---" between them; of a
folder all files are read that end in .yaml, .yml or .json, those of its
folders too. All documents are checked before the first one is sent, and sent
in the order in which they need each other. A mesh
whose authority is made of secrets among them is made first, without mTLS; then
come the secrets, then its mTLS. A resource that names no mesh goes
into that of --mesh.

With --var, {{ NAME }} in a file stands for a value. What begins with a dot, as
in {{ .service }}, is the resource's own.`,
		Example: "  weftctl apply -f mesh.yaml -f permissions.yaml\n  weftctl get traffic-permissions -o yaml | weftctl apply -f -\n  weftctl apply -f ./shop --var host=db.example.com --dry-run",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dry {
				return g.tryApply(cmd.Context(), in)
			}
			return g.apply(cmd.Context(), in)
		},
	}
	in.flags(cmd)
	cmd.Flags().BoolVar(&dry, "dry-run", false, "ask the control plane what would become of them, and change nothing")
	return cmd
}

// tryApply prints what apply would do.
func (g *global) tryApply(ctx context.Context, in input) error {
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
		return fault{inMesh(g.mesh, err)}
	}
	var errs []error
	for _, r := range d.Resources {
		key := mesh.Key{Kind: r.Type, Mesh: r.Mesh, Name: r.Name}
		for _, w := range r.Warnings {
			fmt.Fprintf(g.err, "warning: %s: %s\n", key, w)
		}
		switch {
		case r.Error != nil:
			errs = append(errs, about(key, r.Error))
		case r.Change == api.ChangeUnchanged:
			fmt.Fprintf(g.out, "%s: unchanged\n", key)
		default:
			fmt.Fprintf(g.out, "%s: would be %s\n", key, r.Change)
		}
	}
	return faultOf(errs)
}

func (g *global) apply(ctx context.Context, in input) error {
	c, err := g.client()
	if err != nil {
		return err
	}
	rs, err := g.read(in)
	if err != nil {
		return fault{err}
	}
	var errs []error
	for i, r := range rs {
		founded, err := found(ctx, c, r, rs[i:])
		if founded {
			fmt.Fprintf(g.out, "Mesh %q: created, without mTLS until its secrets are there\n", r.Meta.Mesh)
		}
		var what string
		if err == nil {
			what, err = g.applyOne(ctx, c, r)
		}
		if err != nil {
			errs = append(errs, about(r.Key(), err))
			if status(err) == 0 {
				break // no answer: the next one would fail alike
			}
			continue
		}
		fmt.Fprintf(g.out, "%s: %s\n", r.Key(), what)
	}
	return faultOf(errs)
}

func (g *global) applyOne(ctx context.Context, c *api.Client, r mesh.Resource) (string, error) {
	stored, err := c.Get(ctx, r.Kind, r.Meta.Mesh, r.Meta.Name)
	switch {
	case err == nil && same(stored, r):
		return "unchanged", nil
	case err != nil && !notFound(err):
		return "", err
	}
	created, result, err := c.Put(ctx, r)
	if err != nil {
		return "", err
	}
	for _, w := range result.Warnings {
		fmt.Fprintf(g.err, "warning: %s: %s\n", r.Key(), w)
	}
	switch {
	case created:
		return "created", nil
	case result.Version != 0 && result.Version == stored.Meta.Version: // it only lacked what the control plane adds
		return "unchanged", nil
	}
	return "updated", nil
}

// same tells whether writing wish would change nothing: labels that the
// control plane computes do not count.
func same(stored, wish mesh.Resource) bool {
	plain := func(r mesh.Resource) string {
		labels := map[string]string{}
		for k, v := range r.Meta.Labels {
			if _, asked := wish.Meta.Labels[k]; asked || !strings.HasPrefix(k, "kuma.io/") {
				labels[k] = v
			}
		}
		b, err := api.Encode(mesh.Resource{Kind: r.Kind, Meta: mesh.Meta{Mesh: r.Meta.Mesh, Name: r.Meta.Name, Labels: labels}, Spec: r.Spec})
		if err != nil {
			return err.Error()
		}
		return string(b)
	}
	return plain(stored) == plain(wish)
}
