package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/agent"
	"github.com/weft-mesh/weft/pkg/settings"
)

func leaveCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "leave",
		Short: "Undo all that join and run did",
		Long: `Undo all that join and run did: the agent is stopped, the Dataplane deleted,
the redirection taken off, keys, certificates and configuration removed. Where
the control plane does not answer, the rest is undone all the same and the
Dataplane that is left behind is named.

With --workload one of several workloads leaves, and the others go on.`,
		Args: cobra.NoArgs,
	}
	b := bind(cmd, getenv)
	b.ofWorkload(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if _, err := os.Stat(*b.file); os.IsNotExist(err) {
			fmt.Fprintf(cmd.OutOrStdout(), "there is no %s: this host has not joined\n", *b.file)
			return nil
		}
		if err := b.joined(); err != nil {
			return err
		}
		log, err := settings.Logger(cmd.ErrOrStderr(), b.LogLevel, b.LogFormat)
		if err != nil {
			return usageError{err}
		}
		if *b.workload != "" {
			cfg, err := b.Of(*b.workload)
			if err != nil {
				return usageError{err}
			}
			written := func() error {
				file := unbound(b) // what the file says, without flags
				if err := file.load(false); err != nil {
					return err
				}
				file.Drop(*b.workload)
				return file.write()
			}
			if err := agent.LeaveOne(cmd.Context(), cfg, written, log); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "workload %s left mesh %q\n", *b.workload, cfg.Mesh)
			return err
		}
		if err := agent.Leave(cmd.Context(), *b.Config, log); err != nil {
			return err
		}
		if err := os.Remove(*b.file); err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "left %s\n", b.Meshes())
		return err
	}
	return cmd
}
