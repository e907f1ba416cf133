package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func versionCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the versions of weftctl and of the control plane",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintln(g.out, "weftctl:", version)
			c, err := g.client()
			if err != nil {
				return err
			}
			// A control plane that is away is no fault of this question.
			ctx, cancel := context.WithTimeout(cmd.Context(), 5*time.Second)
			defer cancel()
			info, err := c.Info(ctx)
			if err != nil {
				fmt.Fprintln(g.out, "control plane: unknown:", err)
				return nil
			}
			fmt.Fprintln(g.out, "control plane:", cmp.Or(info.WeftVersion, info.Version))
			return nil
		},
	}
}
