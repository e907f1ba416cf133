package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/cp"
	"github.com/weft-mesh/weft/pkg/settings"
)

func keyCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Exchange the key that secrets are sealed by",
		Long: `Exchange the key that secrets are sealed by at rest (--secrets-key).

With SQLite a running control plane follows by itself. Replicas on PostgreSQL
each need the new key file: rotate on one, copy the file to the others, then
drop the old keys on each.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	rotate := &cobra.Command{Use: "rotate", Short: "Make another key, and seal all secrets by it", Args: cobra.NoArgs}
	rotateCfg, loadRotate := bind(rotate, getenv)
	rotate.RunE = func(cmd *cobra.Command, _ []string) error {
		if _, err := loadRotate(); err != nil {
			return err
		}
		log, err := settings.Logger(cmd.ErrOrStderr(), rotateCfg.LogLevel, rotateCfg.LogFormat)
		if err != nil {
			return usageError{err}
		}
		told, err := cp.RotateSecretsKey(cmd.Context(), *rotateCfg, log)
		if err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout(), told)
		return nil
	}
	drop := &cobra.Command{Use: "drop-old", Short: "Forget the keys by which nothing is sealed any more", Args: cobra.NoArgs}
	dropCfg, loadDrop := bind(drop, getenv)
	drop.RunE = func(cmd *cobra.Command, _ []string) error {
		if _, err := loadDrop(); err != nil {
			return err
		}
		log, err := settings.Logger(cmd.ErrOrStderr(), dropCfg.LogLevel, dropCfg.LogFormat)
		if err != nil {
			return usageError{err}
		}
		return cp.DropOldSecretsKeys(cmd.Context(), *dropCfg, log)
	}
	cmd.AddCommand(rotate, drop)
	return cmd
}
