package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/agent"
)

func redirectCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "redirect",
		Short: "Point this host's traffic at Envoy, look whether it is, or take it back",
	}
	cmd.AddCommand(redirectApply(getenv), redirectCheck(getenv), redirectRemove(getenv))
	return cmd
}

func redirectApply(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Put the redirection in force, all of it or nothing",
		Long: `Put the redirection in force, all of it or nothing.

"weft-agent run" does so by itself. Where no agent runs, this closes the host:
its DNS queries and calls over TCP find nobody until the agent is there.`,
		Args: cobra.NoArgs,
	}
	b := bind(cmd, getenv)
	dry := cmd.Flags().Bool("dry-run", false, "print what would be put in force, and change nothing")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := b.joined(); err != nil {
			return err
		}
		rules, err := b.Rules()
		if err != nil {
			return usageError{err}
		}
		engine := agent.Redirector()
		if *dry {
			text, err := engine.Describe(rules)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), text)
			return err
		}
		if err := engine.Apply(cmd.Context(), rules); err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "the redirection is in force, in table inet %s\n", b.RedirectTable)
		return err
	}
	return cmd
}

func redirectCheck(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Tell how the host differs from the redirection that it should have",
		Args:  cobra.NoArgs,
	}
	b := bind(cmd, getenv)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := b.joined(); err != nil {
			return err
		}
		rules, err := b.Rules()
		if err != nil {
			return usageError{err}
		}
		differences, err := agent.Redirector().Check(cmd.Context(), rules)
		if err != nil {
			return err
		}
		for _, d := range differences {
			fmt.Fprintln(cmd.OutOrStdout(), d)
		}
		if len(differences) > 0 {
			return errSaid
		}
		fmt.Fprintln(cmd.OutOrStdout(), "the redirection is as it should be")
		return nil
	}
	return cmd
}

func redirectRemove(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove",
		Short: "Take the redirection off; works on a host that has none or never joined",
		Long: `Take the redirection off; works on a host that has none or never joined.

The host is open then: calls come in and go out around Envoy, and names in .mesh
are not answered. "weft-agent run", when it starts, or "weft-agent redirect
apply" puts the redirection in force again.`,
		Args: cobra.NoArgs,
	}
	b := bind(cmd, getenv)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := b.load(true); err != nil {
			return err
		}
		if err := agent.Redirector().Remove(cmd.Context(), b.RedirectTable); err != nil {
			return err
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "the redirection is off; the next start of weft-agent run puts it in force again")
		return err
	}
	return cmd
}
