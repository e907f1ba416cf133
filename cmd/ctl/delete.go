package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/mesh"
)

func deleteCommand(g *global) *cobra.Command {
	var in input
	cmd := &cobra.Command{
		Use:   "delete {KIND NAME | -f FILE}",
		Short: "Delete resources",
		Long: `Deletes a resource, or with -f all that files name. Of files everything is read
and checked before the first resource is deleted, and deleted in the opposite of
the order in which it is applied. What is not there is passed over.`,
		Example:           "  weftctl delete traffic-permission web-to-api\n  weftctl delete -f ./shop",
		Args:              cobra.MaximumNArgs(2),
		ValidArgsFunction: g.completeKindAndName,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(in.files) > 0 && len(args) > 0:
				return errors.New("give a kind and a name, or --file, not both")
			case len(in.files) > 0:
				return g.deleteAll(cmd.Context(), in)
			case len(args) != 2:
				return errors.New("give a kind and a name, or --file")
			}
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
	in.optional(cmd)
	return cmd
}

// deleteAll deletes what files name.
func (g *global) deleteAll(ctx context.Context, in input) error {
	c, err := g.client()
	if err != nil {
		return err
	}
	rs, err := g.read(in)
	if err != nil {
		return fault{err}
	}
	var errs []error
	for _, r := range slices.Backward(rs) {
		switch err := c.Delete(ctx, r.Kind, r.Meta.Mesh, r.Meta.Name); {
		case err == nil:
			fmt.Fprintf(g.out, "%s: deleted\n", r.Key())
		case status(err) == http.StatusNotFound: // it, or its mesh
			fmt.Fprintf(g.out, "%s: is not there\n", r.Key())
		default:
			errs = append(errs, about(r.Key(), err))
			if status(err) == 0 {
				return faultOf(errs) // no answer: the next one would fail alike
			}
		}
	}
	return faultOf(errs)
}
