package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/agent"
	"github.com/weft-mesh/weft/pkg/settings"
)

func configCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print the effective configuration, an example of one, or what is wrong with it",
		Args:  cobra.NoArgs,
	}
	b := bind(cmd, getenv)
	example := cmd.Flags().Bool("example", false, "print a file with every setting, its default and what it is for")
	check := cmd.Flags().Bool("check", false, "tell everything that is wrong with the file, and print nothing else")
	cmd.MarkFlagsMutuallyExclusive("example", "check")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *example {
			text, err := agent.Example()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		}
		if *check {
			if err := b.redirectable(); err != nil {
				return err
			}
			for _, w := range b.Workloads() {
				fmt.Fprintf(cmd.OutOrStdout(), "%s of mesh %s: well\n", w.Title(), w.Mesh)
			}
			return nil
		}
		if err := b.load(true); err != nil {
			return err
		}
		out, err := settings.YAML(b.flags, b.Lists(b.flags)...)
		if err != nil {
			return err
		}
		_, err = cmd.OutOrStdout().Write(out)
		return err
	}
	return cmd
}
