package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/mesh"
)

func deleteCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:               "delete KIND NAME",
		Short:             "Delete a resource",
		Example:           "  weftctl delete traffic-permission web-to-api",
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
			c, err := g.client()
			if err != nil {
				return err
			}
			key := mesh.Key{Kind: k.Name, Mesh: g.meshOf(k), Name: args[1]}
			if err := c.Delete(cmd.Context(), k, key.Mesh, key.Name); err != nil {
				return fault{about(key, err)}
			}
			fmt.Fprintf(g.out, "%s: deleted\n", key)
			return nil
		},
	}
}
