package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/agent"
)

func statusCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Tell whether host, redirection, Envoy, certificate and control plane are well",
		Long:  "Tell whether host, redirection, Envoy, certificate and control plane are well.\n\nExit code 0 when all are, 1 when one is not.",
		Args:  cobra.NoArgs,
	}
	b := bind(cmd, getenv)
	output := cmd.Flags().StringP("output", "o", "table", "table or json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := b.joined(); err != nil {
			return err
		}
		st := agent.FetchStatus(cmd.Context(), *b.Config)
		if err := printStatus(cmd.OutOrStdout(), *output, st); err != nil {
			return err
		}
		if !st.Well {
			return errSaid
		}
		return nil
	}
	return cmd
}

func printStatus(w io.Writer, output string, st agent.HostStatus) error {
	switch output {
	case "json":
		return printJSON(w, st)
	case "table":
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, of := range st.Workloads {
			if len(st.Workloads) > 1 {
				fmt.Fprintf(tw, "%s:\n", of.Title)
			}
			printChecks(tw, of.Checks)
		}
		printChecks(tw, st.Checks)
		return tw.Flush()
	default:
		return usageError{fmt.Errorf("output %q is neither table nor json", output)}
	}
}

func printChecks(w io.Writer, checks []agent.Check) {
	for _, c := range checks {
		mark := "ok"
		if !c.OK {
			mark = "FAULT"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", c.Name, mark, c.Text)
		if !c.OK && c.Remedy != "" {
			fmt.Fprintf(w, "\t\t-> %s\n", c.Remedy)
		}
	}
}
