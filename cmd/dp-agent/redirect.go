package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/agent"
)

func redirectCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "redirect",
		Short: "Point this host's traffic at Envoy, look whether it is, or take it back",
	}
	cmd.AddCommand(redirectApply(getenv), redirectConfirm(getenv), redirectCheck(getenv), redirectRemove(getenv))
	return cmd
}

func redirectApply(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Put the redirection in force, all of it or nothing",
		Long: `Put the redirection in force, all of it or nothing.

"weft-agent run" does so by itself. Where no agent runs, this closes the host:
its DNS queries and calls over TCP find nobody until the agent is there.

With --confirm-within it is on trial: unless "weft-agent redirect confirm"
follows in that time, traffic goes as if there were no redirection, whatever
became of this command, the agent and your session. The kernel sees to that.`,
		Args: cobra.NoArgs,
	}
	b := bind(cmd, getenv)
	within := cmd.Flags().Duration("confirm-within", 0, "take it off again after this time, from 1s to 1h, unless it is confirmed; 0s: it stays")
	dry := cmd.Flags().Bool("dry-run", false, "print what would be sent to this host as it is, and change nothing")
	output := cmd.Flags().StringP("output", "o", "text", "of --dry-run: text or json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := b.redirectable(); err != nil {
			return err
		}
		rules, err := b.Rules()
		if err != nil {
			return usageError{err}
		}
		rules.ConfirmWithin = *within
		if err := rules.Validate(); err != nil {
			return usageError{err}
		}
		if err := knownOutput(*output); err != nil {
			return err
		}
		if *dry {
			plan, err := agent.PlanRedirection(cmd.Context(), *b.Config, *within)
			if err != nil {
				return err
			}
			return printAs(cmd.OutOrStdout(), *output, plan)
		}
		choice, err := agent.ApplyRedirection(cmd.Context(), *b.Config, *within)
		if err != nil {
			return err
		}
		if *within != 0 {
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "the redirection is in force for %s; look whether all works, then: weft-agent redirect confirm\n", *within)
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "the redirection is in force, by %s, table %s\n", choice, b.RedirectTable)
		return err
	}
	return cmd
}

func redirectConfirm(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "confirm",
		Short: "Make a redirection on trial stay",
		Args:  cobra.NoArgs,
	}
	b := bind(cmd, getenv)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := b.redirectable(); err != nil {
			return err
		}
		choice, err := agent.ConfirmRedirection(cmd.Context(), *b.Config)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "the redirection stays in force, by %s, table %s\n", choice, b.RedirectTable)
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
		if err := b.redirectable(); err != nil {
			return err
		}
		state, differences, err := agent.CheckRedirection(cmd.Context(), *b.Config)
		if err != nil {
			return err
		}
		now := time.Now()
		if !state.On(now) {
			fmt.Fprintf(cmd.OutOrStdout(), "the redirection is %s; %s\n", state.Text(now), state.Remedy())
			return errSaid
		}
		for _, d := range differences {
			fmt.Fprintln(cmd.OutOrStdout(), d)
		}
		if !state.Trial.IsZero() {
			fmt.Fprintf(cmd.OutOrStdout(), "the redirection is %s; weft-agent redirect confirm makes it stay\n", state.Text(now))
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
are not answered. It stays so: an agent that runs does not mend it, and one that
starts later leaves it off. "weft-agent redirect apply" turns it on again.`,
		Args: cobra.NoArgs,
	}
	b := bind(cmd, getenv)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := b.load(true); err != nil {
			return err
		}
		if err := agent.RemoveRedirection(cmd.Context(), *b.Config); err != nil {
			return err
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "the redirection is off and stays off; weft-agent redirect apply turns it on again")
		return err
	}
	return cmd
}
