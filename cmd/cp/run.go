package main

import (
	"errors"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weft-mesh/weft/pkg/cp"
	"github.com/weft-mesh/weft/pkg/settings"
)

// bind gives cmd the flags of a configuration and returns what reads it.
func bind(cmd *cobra.Command, getenv func(string) string) (*cp.Config, func() (*pflag.FlagSet, error)) {
	cfg := new(cp.Config)
	// A set of its own: cobra adds flags that are no settings.
	fs := pflag.NewFlagSet("settings", pflag.ContinueOnError)
	cfg.Bind(fs)
	cmd.Flags().AddFlagSet(fs)
	file := cmd.Flags().StringP("config", "c", "", "YAML file with the same settings in camel case, such as dataDir")
	return cfg, func() (*pflag.FlagSet, error) {
		if err := settings.Load(fs, *file, false, getenv); err != nil {
			return nil, usageError{err}
		}
		if err := cfg.Validate(); err != nil {
			return nil, usageError{err}
		}
		return fs, nil
	}
}

// gcPercent is how much a heap may grow between two collections, in place of
// Go's 100: most of this one lives as long as the hosts are connected.
const gcPercent = 75

func runCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the control plane until SIGTERM",
		Args:  cobra.NoArgs,
	}
	cfg, load := bind(cmd, getenv)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if _, err := load(); err != nil {
			return err
		}
		log, err := settings.Logger(cmd.ErrOrStderr(), cfg.LogLevel, cfg.LogFormat)
		if err != nil {
			return usageError{err}
		}
		if getenv("GOGC") == "" {
			debug.SetGCPercent(gcPercent)
		}
		plane, err := cp.New(cmd.Context(), *cfg, version, log)
		if err != nil {
			return err
		}
		return plane.Run(cmd.Context())
	}
	return cmd
}

func configCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print the effective configuration as a file",
		Args:  cobra.NoArgs,
	}
	_, load := bind(cmd, getenv)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		fs, err := load()
		if err != nil {
			return err
		}
		out, err := settings.YAML(fs)
		if err != nil {
			return err
		}
		_, err = cmd.OutOrStdout().Write(out)
		return err
	}
	return cmd
}

// exitCode tells a wrong question from a thing that went wrong.
func exitCode(err error) int {
	var usage usageError
	if errors.As(err, &usage) || strings.HasPrefix(err.Error(), "unknown command") {
		return exitUsage
	}
	return exitFault
}
