// Command weft-agent joins a host to a mesh: it keeps the host's identity,
// redirects the host's traffic and runs Envoy.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weft-mesh/weft/cmd/manual"
	"github.com/weft-mesh/weft/pkg/agent"
	"github.com/weft-mesh/weft/pkg/settings"
)

// version is set by the linker.
var version = "dev"

// Exit codes.
const (
	exitFault = 1 // something went wrong, or is not well
	exitUsage = 2 // what was asked for makes no sense
)

func main() {
	if was, code := agent.ProbeChild(); was {
		os.Exit(code)
	}
	if was, code := agent.Launched(); was {
		os.Exit(code)
	}
	ctx, stop := signalled(context.Background())
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// signalled ends a context with the first signal that asks to end. One that
// comes from a keyboard asks to drain first; one of the system, which may start
// the next agent at once, does not.
func signalled(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case s := <-signals:
			if s == os.Interrupt {
				cancel(agent.ErrDrain)
			}
			cancel(nil)
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
	}
}

// usageError is a fault of the command line or the configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// errSaid ends a command with exitFault whose output has told everything.
var errSaid = errors.New("not well")

func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:           "weft-agent",
		Short:         "The host agent of Weft",
		Long:          "The host agent of Weft.\n\nExit codes: 0 well, 1 a fault or not well, 2 wrong usage or configuration.",
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	for _, command := range []func(func(string) string) *cobra.Command{
		joinCommand, runCommand, statusCommand, redirectCommand, leaveCommand, configCommand, serviceCommand, stopCommand, doctorCommand, bundleCommand, versionCommand,
	} {
		root.AddCommand(command(getenv))
	}
	root.AddCommand(manual.Command("8"))
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errSaid):
		return exitFault
	}
	fmt.Fprintln(stderr, "weft-agent:", err)
	if errors.As(err, &usage) || strings.HasPrefix(err.Error(), "unknown command") {
		return exitUsage
	}
	return exitFault
}

// bound is a configuration with the flags that it is read from.
type bound struct {
	*agent.Config
	flags  *pflag.FlagSet // the settings alone
	file   *string
	getenv func(string) string
	// workload is which one a command is about, where of says so.
	workload *string
}

// bind gives cmd the flags of a configuration.
func bind(cmd *cobra.Command, getenv func(string) string) bound {
	b := bound{Config: new(agent.Config), flags: pflag.NewFlagSet("settings", pflag.ContinueOnError), getenv: getenv}
	b.Bind(b.flags)
	cmd.Flags().AddFlagSet(b.flags)
	b.file = cmd.Flags().StringP("config", "c", agent.DefaultConfigFile, "the agent's configuration; join writes it")
	return b
}

// unbound is b with flags that nobody gave on the command line.
func unbound(b bound) bound {
	b.Config, b.flags = new(agent.Config), pflag.NewFlagSet("settings", pflag.ContinueOnError)
	b.Bind(b.flags)
	return b
}

// write puts what is not a default into the file.
func (b bound) write() error {
	text, err := settings.Changed(b.flags, b.Lists(b.flags)...)
	if err != nil {
		return err
	}
	return agent.WriteConfig(*b.file, text)
}

// ofWorkload gives cmd the flag by which one workload of several is chosen.
func (b *bound) ofWorkload(cmd *cobra.Command) {
	b.workload = cmd.Flags().String("workload", "", "of several workloads on this host, the one of that name; default: all")
}

// each calls f with the configuration of the chosen workload, or of every one.
// Above what it says of one of several stands whose it is. What f finds not well
// does not keep it from the next.
func (b bound) each(cmd *cobra.Command, f func(agent.Config) error) error {
	all := b.Workloads()
	if cmd.Flags().Changed("workload") {
		one, err := b.Of(*b.workload)
		if err != nil {
			return usageError{err}
		}
		return f(one)
	}
	var said error
	for _, c := range all {
		if len(all) > 1 {
			fmt.Fprintf(cmd.OutOrStdout(), "%s:\n", c.Title())
		}
		err := f(c)
		if err != nil && !errors.Is(err, errSaid) {
			return err
		}
		said = errors.Join(said, err)
	}
	return said
}

// one is the configuration of the chosen workload, which need not be chosen
// where there is but one.
func (b bound) one(cmd *cobra.Command) (agent.Config, error) {
	all := b.Workloads()
	if len(all) == 1 && !cmd.Flags().Changed("workload") {
		return all[0], nil
	}
	one, err := b.Of(*b.workload)
	if err != nil {
		err = usageError{fmt.Errorf("%w; choose one by --workload", err)}
	}
	return one, err
}

// load reads file and environment beneath the flags. Where optional, the file
// need not be there.
func (b bound) load(optional bool) error {
	if err := settings.Load(b.flags, *b.file, optional, b.getenv, b.Lists(b.flags)...); err != nil {
		return usageError{remedied(err)}
	}
	return nil
}

// remedied adds what to do about a configuration that could not be read.
func remedied(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w; join this host first: weft-agent join TOKEN --service NAME --port PORT", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; run weft-agent as root, or as the user that joined this host", err)
	default:
		return err
	}
}

func versionCommand(func(string) string) *cobra.Command {
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

// joined reads the configuration of a host that has joined. Who is gone from
// the host since is no fault in it, so that leave works.
func (b bound) joined() error { return b.read(b.Validate) }

// redirectable reads the configuration of a host that has joined and whose
// traffic can be redirected as it says.
func (b bound) redirectable() error { return b.read(b.Faults) }

func (b bound) read(faults func() error) error {
	if err := b.load(false); err != nil {
		return err
	}
	if err := faults(); err != nil {
		return usageError{fmt.Errorf("%s: %w", *b.file, err)}
	}
	return nil
}
