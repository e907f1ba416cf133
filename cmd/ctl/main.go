// Command weftctl is what people use to speak with a control plane of Weft.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
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
	code := run(ctx, os.Args[1:], terminal{os.Stdin, os.Stdout, os.Stderr, os.Getenv, time.Now})
	stop()
	os.Exit(code)
}

// A terminal is where a command was typed.
type terminal struct {
	in     io.Reader
	out    io.Writer
	err    io.Writer
	getenv func(string) string
	now    func() time.Time
}

// A fault is an error that is not about how the command was typed.
type fault struct{ error }

func (f fault) Unwrap() error { return f.error }

// faultOf is the fault that several errors are, nil where there is none.
func faultOf(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	return fault{errors.Join(errs...)}
}

func run(ctx context.Context, args []string, t terminal) int {
	root := rootCommand(t) //nolint:contextcheck // cobra hands ctx on to the commands
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(t.err, "weftctl:", err)
	if _, ok := errors.AsType[fault](err); ok {
		return exitFault
	}
	return exitUsage
}
