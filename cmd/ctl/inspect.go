package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// stages are those of the control plane's pipeline that know one dataplane.
var stages = []string{"resource", "plan", "render", "stream"}

func inspectCommand(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect",
		Short: "Show what the control plane made of a resource, and how things fare",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(inspectDataplaneCommand(g), inspectDataplanesCommand(g), inspectMeshesCommand(g), inspectServicesCommand(g))
	cmd.AddCommand(inspectZonesCommands(g)...)
	return cmd
}

func inspectDataplaneCommand(g *global) *cobra.Command {
	var stage, view string
	var endpoints bool
	views := slices.Sorted(maps.Keys(api.Views))
	cmd := &cobra.Command{
		Use:   "dataplane NAME",
		Short: "Show a dataplane at one stage of the pipeline, or what its Envoy says",
		Long: `Shows a dataplane at one stage of the pipeline, as YAML:

  resource   as it is stored
  plan       what its proxy must do: who may call it and why, whom it calls
  render     the plan in Envoy's words
  stream     what was sent to the proxy, and whether the proxy accepted it

With --type it is one of these:

  policies     the policies that act on it, and where
  config       what its proxy is told, as JSON
  config-dump  what Envoy on its host runs by, as JSON, without secrets
  stats        what Envoy counted
  clusters     whom Envoy can call, and how those fare

The last three are asked of the host's agent by way of its stream to the control plane.`,
		Example: "  weftctl inspect dataplane web-1 --stage plan\n  weftctl inspect dataplane web-1 --type config-dump --include-eds",
		Args:    cobra.ExactArgs(1),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return g.names(cmd, mesh.DataplaneKind), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(stages, stage) {
				return fmt.Errorf("--stage: %q is not one of %s", stage, strings.Join(stages, ", "))
			}
			if err := nameTyped(args[0]); err != nil {
				return err
			}
			if view != "" && !slices.Contains(views, view) {
				return fmt.Errorf("--type: %q is not one of %s", view, strings.Join(views, ", "))
			}
			c, err := g.client()
			if err != nil {
				return err
			}
			var b []byte
			if view != "" {
				b, err = c.View(cmd.Context(), g.mesh, args[0], view, endpoints)
			} else {
				b, err = c.Stage(cmd.Context(), g.mesh, args[0], stage)
			}
			if err != nil {
				return fault{about(mesh.Key{Kind: mesh.DataplaneKind.Name, Mesh: g.mesh, Name: args[0]}, err)}
			}
			_, err = g.out.Write(b)
			return faultOrNil(err)
		},
	}
	cmd.Flags().StringVar(&stage, "stage", "plan", strings.Join(stages, ", "))
	cmd.Flags().StringVar(&view, "type", "", strings.Join(views, ", "))
	cmd.Flags().BoolVar(&endpoints, "include-eds", false, "with --type config-dump: endpoints as well")
	cmd.MarkFlagsMutuallyExclusive("stage", "type")
	_ = cmd.RegisterFlagCompletionFunc("type", cobra.FixedCompletions(views, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("stage", cobra.FixedCompletions(stages, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}
