package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/agent"
)

// applyLast needs no configuration but where the files are: what it says now
// is the agent's to bring about, when that starts.
func applyLast(cmd *cobra.Command, b bound) error {
	if err := b.load(true); err != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "%v; files are looked for in %s\n", err, b.StateDir)
	}
	all, err := agent.RestoreRedirections(cmd.Context(), b.StateDir)
	for _, r := range all {
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "the redirection is in force as it was last, by %s, table %s\n", r.Engine, r.Table); err != nil {
			return err
		}
	}
	if err != nil || len(all) > 0 {
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), "no redirection was in force")
	return err
}

// removeForNow opens the host whatever its configuration looks like.
func removeForNow(cmd *cobra.Command, b bound) error {
	var tables []string
	if err := b.load(true); err != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "%v; files are looked for in %s\n", err, b.StateDir)
		tables = append(tables, b.RedirectTable)
	}
	for _, cfg := range b.Workloads() {
		tables = append(tables, cfg.RedirectTable)
	}
	if err := agent.ReleaseRedirections(cmd.Context(), b.StateDir, tables...); err != nil {
		return err
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), "the redirection is off until the agent starts, or the host")
	return err
}

// alone refuses flags beside one that leaves no choice.
func alone(cmd *cobra.Command, flag string, others ...string) error {
	for _, o := range others {
		if cmd.Flags().Changed(o) {
			return usageError{errors.New("--" + flag + " is of all workloads and as they were: leave out --" + o)}
		}
	}
	return nil
}
