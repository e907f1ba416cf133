package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/agent"
	"github.com/weft-mesh/weft/pkg/settings"
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
exchanged for a certificate of this host's own. Nothing is redirected yet:
"weft-agent run" does that.

The Dataplane's name is that of the token, else SERVICE-HOSTNAME. It must be
this host's alone: whoever joins later by the same name replaces the earlier.
To join again, stop the agent first.`,
		Example: "  weft-agent join weft1.eyJh... --service web --port 8080 --protocol http",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf(`join takes one token, or "-" to read it from standard input`)}
			}
			return nil
		},
	}
	b := bind(cmd, getenv)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := b.load(true); err != nil {
			return err
		}
		token := args[0]
		if token == "-" {
			line, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), maxToken)).ReadString('\n')
			if err != nil && err != io.EOF {
				return fmt.Errorf("read the token: %w", err)
			}
			token = strings.TrimSpace(line)
		}
		log, err := settings.Logger(cmd.ErrOrStderr(), b.LogLevel, b.LogFormat)
		if err != nil {
			return usageError{err}
		}
		joined, err := agent.Join(cmd.Context(), *b.Config, token, log)
		if err != nil {
			return err
		}
		*b.Config = joined
		// The flags point at the fields, so that they now tell the joined ones.
		text, err := settings.Changed(b.flags)
		if err != nil {
			return err
		}
		if err := agent.WriteConfig(*b.file, text); err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "joined mesh %q as %q for service %q\nconfiguration: %s\nnext: weft-agent run\n",
			joined.Mesh, joined.Name, joined.Service, *b.file)
		return err
	}
	return cmd
}
