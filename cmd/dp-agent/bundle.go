package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/agent"
)

func bundleCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bundle",
		Short: "Write a file for who is to help: doctor, status, log, configuration, rules and Envoy's own view",
		Long: `Write a tar.gz for who is to help: doctor, status, log, configuration, rules and
Envoy's own view. Keys and tokens are not in it. What cannot be had, as when no
agent runs, has the reason in its place.`,
		Args: cobra.NoArgs,
	}
	b := bind(cmd, getenv)
	to := cmd.Flags().String("to", "", `file to write, "-" for standard output; default: weft-agent-HOST-TIME.tar.gz here`)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := b.load(false); err != nil {
			return err
		}
		if *to == "-" {
			return agent.Bundle(cmd.Context(), *b.Config, *b.file, cmd.OutOrStdout())
		}
		name := *to
		if name == "" {
			host, err := os.Hostname()
			if err != nil {
				return err
			}
			name = fmt.Sprintf("weft-agent-%s-%s.tar.gz", host, time.Now().UTC().Format("20060102-150405"))
		}
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		if err := errors.Join(agent.Bundle(cmd.Context(), *b.Config, *b.file, f), f.Close()); err != nil {
			return errors.Join(err, os.Remove(name))
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), name)
		return err
	}
	return cmd
}
