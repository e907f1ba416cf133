package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/agent"
	"github.com/weft-mesh/weft/pkg/settings"
	"github.com/weft-mesh/weft/pkg/systemd"
)

// maxToken is more than any join token has, in bytes.
const maxToken = 16 << 10

func joinCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "join TOKEN",
		Short: "Join this host to a mesh with a token of `weftctl join-token`",
		Long: `Join this host to a mesh.

TOKEN is the one word that "weftctl join-token" prints; "-" reads it from
standard input, so that it stands in no process list. The control plane is
verified by the hash in the token before the token is sent, and the token is
exchanged for a certificate of this host's own. Where the package has made a
service of the agent, that is started then; elsewhere nothing is redirected
until "weft-agent run".

The Dataplane's name is that of the token, else SERVICE-HOSTNAME. It must be
this host's alone: while a host of that name is in the mesh another one is
refused. To join again, stop the agent first.

With --workload the host gets one workload more, with a Dataplane, an identity
and an Envoy of its own: --only says whose calls are that one's. An agent that
runs takes it in by itself.`,
		Example: `  weft-agent join weft1.eyJh... --service web --port 8080 --protocol http
  weft-agent join weft1.eyJh... --workload db --service db --port 5432 --only user:postgres`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf(`join takes one token, or "-" to read it from standard input`)}
			}
			return nil
		},
	}
	b := bind(cmd, getenv)
	noStart := cmd.Flags().Bool("no-start", false, "do not start the agent's service")
	workload := cmd.Flags().String("workload", "", "join as one more workload of this host, by this name: a letter and at most 14 of a-z, 0-9 and -")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		host := b
		if *workload == "" {
			if err := b.load(true); err != nil {
				return err
			}
		} else {
			// The flags are the workload's, and no word about the one at the top.
			host = unbound(b)
			if err := host.load(true); err != nil {
				return err
			}
			if err := host.Further(*workload, b.flags); err != nil {
				return usageError{err}
			}
		}
		token := args[0]
		if token == "-" {
			line, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), maxToken)).ReadString('\n')
			if err != nil && err != io.EOF {
				return fmt.Errorf("read the token: %w", err)
			}
			token = strings.TrimSpace(line)
		}
		log, err := settings.Logger(cmd.ErrOrStderr(), host.LogLevel, host.LogFormat)
		if err != nil {
			return usageError{err}
		}
		joined, err := agent.Join(cmd.Context(), *host.Config, *workload, token, log)
		if err != nil {
			return err
		}
		// The flags point at the fields, so that they now tell the joined ones.
		host.Joined(joined)
		if err := host.write(); err != nil {
			return err
		}
		next, failed := started(cmd.Context(), *host.file, *noStart)
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "joined mesh %q as %q for service %q\nconfiguration: %s\nnext: %s\n",
			joined.Mesh, joined.Name, joined.Service, *host.file, next)
		return errors.Join(err, failed)
	}
	return cmd
}

// packagedUnit is the agent as packages install it.
const packagedUnit = "weft-agent.service"

// started starts the agent of a host whose package made a service of it, and
// tells what to do next. Configurations elsewhere are run by whoever wrote them.
func started(ctx context.Context, file string, not bool) (next string, err error) {
	const run = "weft-agent run"
	if not || file != agent.DefaultConfigFile {
		return run, nil
	}
	switch err := systemd.StartEnabled(ctx, packagedUnit); {
	case errors.Is(err, systemd.ErrNoUnit):
		return run, nil
	case err != nil:
		return "systemctl start " + packagedUnit, fmt.Errorf("this host has joined, but its agent does not run: %w", err)
	}
	return "weft-agent status", nil
}
