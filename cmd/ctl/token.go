package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weft-mesh/weft/pkg/api"
)

func tokenCommand(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make and revoke tokens, and exchange the keys that sign them",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(dataplaneTokenCommand(g), zoneTokenCommand(g), userTokenCommand(g),
		tokenKeysCommand(g), rotateKeyCommand(g), dropKeyCommand(g), revokeCommand(g))
	return cmd
}

func dataplaneTokenCommand(g *global) *cobra.Command {
	var t tokenFlags
	cmd := &cobra.Command{
		Use:   "dataplane",
		Short: "Make a token by which a dataplane may connect",
		Long: `Makes a token by which a dataplane of --mesh may connect, and prints it.

The token is a secret. What it does not bind, its bearer chooses: without --name
any dataplane, without --tag any tags.`,
		Example: "  weftctl token dataplane --tag kuma.io/service=web,web-admin --valid-for 24h > token",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			token, err := t.fetch(cmd.Context(), g, c)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(g.out, token)
			return faultOrNil(err)
		},
	}
	t.add(cmd.Flags(), 0)
	_ = cmd.MarkFlagRequired("valid-for")
	return cmd
}

// tokenFlags say what a dataplane token is bound to.
type tokenFlags struct {
	name     string
	tags     []string
	validFor time.Duration
	once     bool // of join tokens
}

func (t *tokenFlags) add(fs *pflag.FlagSet, validFor time.Duration) {
	fs.StringVar(&t.name, "name", "", "name that the dataplane must have")
	fs.StringArrayVar(&t.tags, "tag", nil, "tag and the values that it may have, key=value1,value2; may be given again")
	fs.DurationVar(&t.validFor, "valid-for", validFor, `how long the token can be used, as in "1h30m"`)
}

func (t *tokenFlags) fetch(ctx context.Context, g *global, c *api.Client) (string, error) {
	if t.validFor <= 0 {
		return "", fmt.Errorf("--valid-for: must be longer than nothing")
	}
	tags, err := t.allowed()
	if err != nil {
		return "", err
	}
	req := api.DataplaneTokenRequest{Name: t.name, Mesh: g.mesh, Tags: tags, ValidFor: t.validFor.String(), Once: t.once}
	token, err := c.DataplaneToken(ctx, req)
	if err != nil {
		return "", fault{fmt.Errorf("make a dataplane token: %w", inMesh(g.mesh, err))}
	}
	return token, nil
}

// allowed are the values that each tag may have.
func (t *tokenFlags) allowed() (map[string][]string, error) {
	tags := map[string][]string{}
	for _, s := range t.tags {
		k, values, ok := strings.Cut(s, "=")
		vs := strings.Split(values, ",")
		if !ok || k == "" || slices.Contains(vs, "") {
			return nil, fmt.Errorf("--tag: %q is not key=value or key=value1,value2", s)
		}
		tags[k] = append(tags[k], vs...)
	}
	return tags, nil
}
