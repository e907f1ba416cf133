package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/agent"
)

func doctorCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Examine this host, and say what to do about what is not well",
		Long: `Examine this host, and say what to do about what is not well: system, limits,
disk, resolvers, rights, ports, redirection, Envoy, certificate, control plane and
clock. No agent needs to run, and nothing is changed.

Exit code 0 when all is well, 1 when something is not.`,
		Args: cobra.NoArgs,
	}
	b := bind(cmd, getenv)
	output := cmd.Flags().StringP("output", "o", "table", "table or json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		faults := b.load(false)
		d := agent.Doctor(cmd.Context(), *b.Config, faults)
		switch *output {
		case "json":
			if err := printJSON(cmd.OutOrStdout(), d); err != nil {
				return err
			}
		case "table":
			tw := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			printChecks(tw, d.Checks)
			if err := tw.Flush(); err != nil {
				return err
			}
		default:
			return usageError{fmt.Errorf("output %q is neither table nor json", *output)}
		}
		if !d.Well {
			return errSaid
		}
		return nil
	}
	return cmd
}
