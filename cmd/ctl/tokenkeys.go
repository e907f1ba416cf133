package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/api"
)

// tokenKinds are those that have keys of their own.
var tokenKinds = []string{"dataplane", "zone", "user"}

func tokenKind(arg string) error {
	if !slices.Contains(tokenKinds, arg) {
		return fmt.Errorf("%q is no kind of token; there are %s", arg, strings.Join(tokenKinds, ", "))
	}
	return nil
}

func zoneTokenCommand(g *global) *cobra.Command {
	var req api.ZoneTokenRequest
	var validFor time.Duration
	cmd := &cobra.Command{
		Use:     "zone",
		Short:   "Make a token by which a zone's ingress or egress may connect",
		Example: "  weftctl token zone --zone east --scope ingress,egress --valid-for 720h > token",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.issue(validFor, func(c *api.Client, valid string) (string, error) {
				req.ValidFor = valid
				return c.ZoneToken(cmd.Context(), req)
			})
		},
	}
	cmd.Flags().StringVar(&req.Zone, "zone", "", "zone that the proxy must be of")
	cmd.Flags().StringSliceVar(&req.Scope, "scope", nil, "ingress, egress or both")
	cmd.Flags().DurationVar(&validFor, "valid-for", 0, `how long the token can be used, as in "720h"`)
	_ = cmd.MarkFlagRequired("scope")
	_ = cmd.MarkFlagRequired("valid-for")
	return cmd
}

func userTokenCommand(g *global) *cobra.Command {
	var req api.UserTokenRequest
	var validFor time.Duration
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Make a token by which somebody may use the REST API",
		Long: `Makes a token by which somebody may use the REST API, and prints it.

What he may do follows from access lists (weft-cp run --access-...) and from
AccessRoleBindings that name him or one of his groups. The group
mesh-system:admin may do everything.`,
		Example: "  weftctl token user --name ci --group deployers --valid-for 2160h > token",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.issue(validFor, func(c *api.Client, valid string) (string, error) {
				req.ValidFor = valid
				return c.UserToken(cmd.Context(), req)
			})
		},
	}
	cmd.Flags().StringVar(&req.Name, "name", "", "the user's name")
	cmd.Flags().StringSliceVar(&req.Groups, "group", nil, "groups that the user is a member of; may be given again")
	cmd.Flags().DurationVar(&validFor, "valid-for", 0, `how long the token can be used, as in "720h"`)
	_ = cmd.MarkFlagRequired("name")
	_ = cmd.MarkFlagRequired("valid-for")
	return cmd
}

// issue prints a token that the control plane makes.
func (g *global) issue(validFor time.Duration, ask func(c *api.Client, validFor string) (string, error)) error {
	if validFor <= 0 {
		return fmt.Errorf("--valid-for: must be longer than nothing")
	}
	c, err := g.client()
	if err != nil {
		return err
	}
	token, err := ask(c, validFor.String())
	if err != nil {
		return fault{fmt.Errorf("make a token: %w", inMesh(g.mesh, err))}
	}
	_, err = fmt.Fprintln(g.out, token)
	return faultOrNil(err)
}

func tokenKeysCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:       "keys KIND",
		Short:     "List the keys that sign tokens: dataplane (of --mesh), zone or user",
		Args:      cobra.ExactArgs(1),
		ValidArgs: tokenKinds,
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withKind(args[0], func(c *api.Client) error {
				keys, err := c.SigningKeys(cmd.Context(), args[0], g.mesh)
				if err != nil {
					return err
				}
				return g.printKeys(keys)
			})
		},
	}
}

func rotateKeyCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "rotate-key KIND",
		Short: "Make another key, which signs tokens from now on",
		Long: `Makes another key, which signs tokens from now on. Tokens that earlier keys have
signed stay good until weftctl token drop-key.`,
		Args:      cobra.ExactArgs(1),
		ValidArgs: tokenKinds,
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withKind(args[0], func(c *api.Client) error {
				keys, err := c.RotateSigningKey(cmd.Context(), args[0], g.mesh)
				if err != nil {
					return err
				}
				return g.printKeys(keys)
			})
		},
	}
}

func dropKeyCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:       "drop-key KIND ID",
		Short:     "Delete a key that signs no more: all of its tokens are refused from now on",
		Args:      cobra.ExactArgs(2),
		ValidArgs: tokenKinds,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := nameTyped(args[1]); err != nil {
				return err
			}
			return g.withKind(args[0], func(c *api.Client) error {
				if err := c.DropSigningKey(cmd.Context(), args[0], g.mesh, args[1]); err != nil {
					return err
				}
				_, err := fmt.Fprintf(g.out, "key %s of %s tokens was dropped\n", args[1], args[0])
				return err
			})
		},
	}
}

func revokeCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke KIND ID",
		Short: "Refuse a token from now on, by its id (claim jti)",
		Long: `Refuses a token from now on, by its id (claim jti), which the audit log has. Open
streams of a dataplane that connected by it, or whose host joined by it, end.`,
		Args:      cobra.ExactArgs(2),
		ValidArgs: tokenKinds,
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withKind(args[0], func(c *api.Client) error {
				if err := c.Revoke(cmd.Context(), args[0], g.mesh, args[1]); err != nil {
					return err
				}
				_, err := fmt.Fprintf(g.out, "%s token %s was revoked\n", args[0], args[1])
				return err
			})
		},
	}
}

// withKind does something about the keys of a kind of token.
func (g *global) withKind(kind string, do func(*api.Client) error) error {
	if err := tokenKind(kind); err != nil {
		return err
	}
	c, err := g.client()
	if err != nil {
		return err
	}
	if err := do(c); err != nil {
		return fault{inMesh(g.mesh, err)}
	}
	return nil
}

func (g *global) printKeys(keys api.SigningKeys) error {
	w := tabwriter.NewWriter(g.out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "ID\tMADE\tSIGNS")
	for _, k := range keys.Keys {
		signs := "no"
		if k.Signs {
			signs = "yes"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", k.ID, k.Made.Format(time.DateTime), signs)
	}
	return w.Flush()
}
