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
	"github.com/weft-mesh/weft/pkg/mesh"
)

// profiles say which kinds an export has; kumactl's have these names.
var profiles = map[string]func(*mesh.Kind) bool{
	"all":           func(*mesh.Kind) bool { return true },
	"no-dataplanes": func(k *mesh.Kind) bool { return k != mesh.DataplaneKind },
	"federation":    func(k *mesh.Kind) bool { return k.Flow&mesh.FromGlobal != 0 && k.Policy == nil },
	"federation-with-policies": func(k *mesh.Kind) bool {
		return k.Flow&mesh.FromGlobal != 0
	},
}

func exportCommand(g *global) *cobra.Command {
	var profile string
	var admin bool
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print all resources, to be applied elsewhere",
		Long: `Prints the resources of all meshes as YAML, in the order in which they can be
applied. What a control plane adds by itself, times and labels, is left out, so
that exports of the same resources are the same.

Profiles:
  all                       everything
  no-dataplanes             all but Dataplanes, which hosts register by themselves
  federation                what zones have from a global control plane, without policies
  federation-with-policies  what zones have from a global control plane

Secrets, among them the keys of authorities and tokens, are left out without
--include-admin.`,
		Example: "  weftctl export > mesh.yaml\n  weftctl export --profile no-dataplanes --include-admin | weftctl --server https://other:5682 apply -f -",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			has, ok := profiles[profile]
			if !ok {
				return fmt.Errorf("--profile: %q is not one of %s", profile, strings.Join(slices.Sorted(maps.Keys(profiles)), ", "))
			}
			return g.export(cmd.Context(), func(k *mesh.Kind) bool { return has(k) && !k.ReadOnly && (admin || !k.Admin) })
		},
	}
	cmd.Flags().StringVar(&profile, "profile", "all", "which kinds: "+strings.Join(slices.Sorted(maps.Keys(profiles)), ", "))
	cmd.Flags().BoolVar(&admin, "include-admin", false, "also what administrators alone may read: Secrets and roles")
	_ = cmd.RegisterFlagCompletionFunc("profile", cobra.FixedCompletions(slices.Sorted(maps.Keys(profiles)), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (g *global) export(ctx context.Context, has func(*mesh.Kind) bool) error {
	c, err := g.client()
	if err != nil {
		return err
	}
	for _, k := range mesh.Kinds {
		if !has(k) {
			continue
		}
		rs, err := c.List(ctx, k, "")
		if err != nil {
			return fault{fmt.Errorf("list %s: %w", k.Path, inMesh("", err))}
		}
		slices.SortFunc(rs, func(a, b mesh.Resource) int {
			return strings.Compare(a.Meta.Mesh+"\x00"+a.Meta.Name, b.Meta.Mesh+"\x00"+b.Meta.Name)
		})
		for _, r := range rs {
			if err := g.exportOne(r); err != nil {
				return fault{err}
			}
		}
	}
	return nil
}

func (g *global) exportOne(r mesh.Resource) error {
	doc, err := api.EncodePlain(r)
	if err == nil {
		doc, err = api.ToYAML(doc)
	}
	if err != nil {
		return err
	}
	_, err = io.WriteString(g.out, "---\n"+string(doc))
	return err
}
