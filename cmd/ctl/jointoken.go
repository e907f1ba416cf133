package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/api"
)

// hostPort is where control planes listen for hosts.
const hostPort = "5678"

func joinTokenCommand(g *global) *cobra.Command {
	var t tokenFlags
	var addresses []string
	cmd := &cobra.Command{
		Use:   "join-token",
		Short: "Make the one word by which a host joins the mesh",
		Long: `Makes the one word by which a host joins --mesh, and prints it.

It holds the control plane's addresses, the hash of its certificate authority
and a dataplane token: hand it to "weft-agent join". It is a secret. What it
does not bind, its bearer chooses: without --name any dataplane, without --tag
any tags, and without --once as many hosts as like until it ends.`,
		Example: "  weftctl join-token --once --tag kuma.io/service=api",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			given, err := hostPorts(addresses)
			if err != nil {
				return err
			}
			c, err := g.client()
			if err != nil {
				return err
			}
			hosts, err := c.Hosts(cmd.Context())
			if err != nil {
				return fault{fmt.Errorf("ask how hosts reach the control plane: %w", inMesh(g.mesh, err))}
			}
			if len(given) > 0 {
				hosts.Addresses = given
			}
			if len(hosts.Addresses) == 0 {
				return fault{errors.New("the control plane does not know how hosts reach it; give --address HOST, or start weft-cp with --advertise HOST")}
			}
			token, err := t.fetch(cmd.Context(), g, c)
			if err != nil {
				return err
			}
			word := api.JoinToken{Addresses: hosts.Addresses, Authority: hosts.Authority, Token: token, Mesh: g.mesh, Name: t.name}.String()
			if _, err := api.ParseJoinToken(word); err != nil {
				return fault{fmt.Errorf("the control plane's answer makes no join token: %w", err)}
			}
			_, err = fmt.Fprintln(g.out, word)
			return faultOrNil(err)
		},
	}
	t.add(cmd.Flags(), time.Hour)
	cmd.Flags().BoolVar(&t.once, "once", false, "let one host join with it, and no more")
	cmd.Flags().StringArrayVar(&addresses, "address", nil, "how the host reaches the control plane, host or host:port, port 5678 if none; may be given again (default: what the control plane says)")
	return cmd
}

// hostPorts adds the port where there is none.
func hostPorts(addresses []string) ([]string, error) {
	var out []string
	for _, a := range addresses {
		host, port, err := net.SplitHostPort(a)
		if err != nil {
			host, port = strings.Trim(a, "[]"), hostPort
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || host == "" || strings.ContainsAny(host, "/[] ") || (strings.Contains(host, ":") && net.ParseIP(host) == nil) {
			return nil, fmt.Errorf("--address: %q is not host or host:port", a)
		}
		out = append(out, net.JoinHostPort(host, port))
	}
	return out, nil
}
