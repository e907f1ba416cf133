// Command weft-cp is the control plane of Weft: it holds what people want of
// their meshes and tells every proxy what follows from it.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/cmd/manual"
)

// version is set by the linker.
var version = "dev"

// Exit codes.
const (
	exitFault = 1 // something went wrong while doing it
	exitUsage = 2 // what was asked for makes no sense
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// usageError is a fault of the command line or the configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:           "weft-cp",
		Short:         "The control plane of Weft",
		Long:          "The control plane of Weft.\n\nExit codes: 0 well, 1 a fault, 2 wrong usage or configuration.",
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(runCommand(getenv), configCommand(getenv), migrateCommand(getenv), keyCommand(getenv), backupCommand(getenv), versionCommand(), manual.Command("8"))
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "weft-cp:", err)
	return exitCode(err)
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), version)
			return err
		},
	}
}
