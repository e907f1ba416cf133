package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/cp"
	"github.com/weft-mesh/weft/pkg/settings"
)

func migrateCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the store's tables to those of this version",
		Long: `Bring the store's tables to those of this version.

A file of SQLite is migrated at the start as well, and an empty database gets
its tables then. Tables of an older version in PostgreSQL wait for this command,
as replicas of that version may use them.`,
	}
	up := &cobra.Command{Use: "up", Short: "Migrate; do nothing where that is done", Args: cobra.NoArgs}
	cfg, load := bind(up, getenv)
	up.RunE = func(cmd *cobra.Command, _ []string) error {
		if _, err := load(); err != nil {
			return err
		}
		log, err := settings.Logger(cmd.ErrOrStderr(), cfg.LogLevel, cfg.LogFormat)
		if err != nil {
			return usageError{err}
		}
		was, err := cp.Migrate(cmd.Context(), *cfg, log)
		if err != nil {
			return err
		}
		if was.Version == was.Newest {
			fmt.Fprintf(cmd.OutOrStdout(), "schema %d, nothing to do\n", was.Version)
			return nil
		}
		fmt.Fprintf(cmd.OutOrStdout(), "schema %d, was %d\n", was.Newest, was.Version)
		return nil
	}
	cmd.AddCommand(up, statusCommand(getenv))
	return cmd
}

func statusCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Tell how far the tables are, and change nothing",
		Long:  "Tell how far the tables are, and change nothing. Exit code 1 means that there is something to migrate.",
		Args:  cobra.NoArgs,
	}
	cfg, load := bind(cmd, getenv)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if _, err := load(); err != nil {
			return err
		}
		s, err := cp.SchemaStatus(cmd.Context(), *cfg)
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "schema %d, this version has %d\n", s.Version, s.Newest)
		if s.Version < s.Newest {
			return fmt.Errorf("the tables are older: run weft-cp migrate up")
		}
		return nil
	}
	return cmd
}

func backupCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup FOLDER",
		Short: "Write a data directory as it is now to a new folder",
		Long: `Write a data directory as it is now to a new folder: the store and the keys.
The control plane may run meanwhile. The folder holds all secrets. To restore,
stop the control plane and put the folder in the place of its data directory.`,
		Args: cobra.ExactArgs(1),
	}
	cfg, load := bind(cmd, getenv)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if _, err := load(); err != nil {
			return err
		}
		if err := cp.Backup(cmd.Context(), *cfg, args[0]); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s is a data directory as of now; it holds secrets\n", args[0])
		return nil
	}
	return cmd
}
