package main

import (
	"crypto/rsa"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/signing"
)

func generateCommand(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Make keys, tokens and certificates without a control plane",
		Long: `Makes keys and tokens without a control plane: a key that is kept elsewhere signs,
and the control plane is given its public half by --token-public-keys.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(signingKeyCommand(g), publicKeyCommand(g), offlineDataplaneCommand(g), offlineZoneCommand(g), offlineUserCommand(g), tlsCertificateCommand(g))
	return cmd
}

func signingKeyCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:     "signing-key",
		Short:   "Make a key that signs tokens, and print it as PEM",
		Example: "  (umask 077; weftctl generate signing-key > key.pem)",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			key, err := signing.NewKey()
			if err != nil {
				return fault{err}
			}
			_, err = g.out.Write(key)
			return faultOrNil(err)
		},
	}
}

func publicKeyCommand(g *global) *cobra.Command {
	var o offline
	cmd := &cobra.Command{
		Use:   "public-key",
		Short: "Print the public half of a signing key as PEM",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			key, err := o.key()
			if err != nil {
				return err
			}
			_, err = g.out.Write(signing.PublicKey(key))
			return faultOrNil(err)
		},
	}
	o.addKey(cmd)
	return cmd
}

// offline is how a token is signed here.
type offline struct {
	path     string
	kid      string
	validFor time.Duration
}

func (o *offline) addKey(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.path, "signing-key-path", "", "file of the key that signs, in PEM")
	_ = cmd.MarkFlagRequired("signing-key-path")
}

func (o *offline) add(cmd *cobra.Command) {
	o.addKey(cmd)
	cmd.Flags().StringVar(&o.kid, "kid", "", "name of the key, as the control plane's --token-public-keys has it")
	cmd.Flags().DurationVar(&o.validFor, "valid-for", 0, `how long the token can be used, as in "720h"`)
	_ = cmd.MarkFlagRequired("kid")
	_ = cmd.MarkFlagRequired("valid-for")
}

func (o *offline) key() (k *rsa.PrivateKey, err error) {
	data, err := os.ReadFile(o.path)
	if err != nil {
		return nil, fault{fmt.Errorf("--signing-key-path: %w", err)}
	}
	if k, err = signing.ParseKey(data); err != nil {
		return nil, fault{fmt.Errorf("--signing-key-path: %s %w", o.path, err)}
	}
	return k, nil
}

// sign prints the token of claims, which is given its id and times.
func (o *offline) sign(g *global, claims func(jwt.RegisteredClaims) jwt.Claims) error {
	if o.validFor <= 0 {
		return fmt.Errorf("--valid-for: must be longer than nothing")
	}
	key, err := o.key()
	if err != nil {
		return err
	}
	raw, err := signing.Sign(key, o.kid, claims(signing.Registered(g.now(), o.validFor)))
	if err != nil {
		return fault{err}
	}
	_, err = fmt.Fprintln(g.out, raw)
	return faultOrNil(err)
}

func offlineDataplaneCommand(g *global) *cobra.Command {
	var o offline
	var t tokenFlags
	var proxyType, workload string
	cmd := &cobra.Command{
		Use:     "dataplane-token",
		Short:   "Sign a dataplane token of --mesh",
		Example: "  weftctl generate dataplane-token --signing-key-path key.pem --kid ci --tag kuma.io/service=web --valid-for 24h",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			tags, err := t.allowed()
			if err != nil {
				return err
			}
			if proxyType != "" && !slices.Contains([]string{"dataplane", "ingress", "egress"}, proxyType) {
				return fmt.Errorf("--proxy-type: %q is not dataplane, ingress or egress", proxyType)
			}
			return o.sign(g, func(r jwt.RegisteredClaims) jwt.Claims {
				return signing.DataplaneClaims{Name: t.name, Mesh: g.mesh, Tags: tags, Type: proxyType, Workload: workload, RegisteredClaims: r}
			})
		},
	}
	o.add(cmd)
	cmd.Flags().StringVar(&t.name, "name", "", "name that the dataplane must have")
	cmd.Flags().StringArrayVar(&t.tags, "tag", nil, "tag and the values that it may have, key=value1,value2; may be given again")
	cmd.Flags().StringVar(&proxyType, "proxy-type", "", "dataplane, ingress or egress")
	cmd.Flags().StringVar(&workload, "workload", "", "value that the label kuma.io/workload must have")
	return cmd
}

func offlineZoneCommand(g *global) *cobra.Command {
	var o offline
	var zone string
	var scope []string
	cmd := &cobra.Command{
		Use:   "zone-token",
		Short: "Sign a zone token",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			for _, s := range scope {
				if s != "ingress" && s != "egress" {
					return fmt.Errorf("--scope: %q is not ingress or egress", s)
				}
			}
			return o.sign(g, func(r jwt.RegisteredClaims) jwt.Claims {
				return signing.ZoneClaims{Zone: zone, Scope: scope, RegisteredClaims: r}
			})
		},
	}
	o.add(cmd)
	cmd.Flags().StringVar(&zone, "zone", "", "zone that the proxy must be of")
	cmd.Flags().StringSliceVar(&scope, "scope", nil, "ingress, egress or both")
	_ = cmd.MarkFlagRequired("scope")
	return cmd
}

func offlineUserCommand(g *global) *cobra.Command {
	var o offline
	var name string
	var groups []string
	cmd := &cobra.Command{
		Use:   "user-token",
		Short: "Sign a token of the REST API",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if strings.TrimSpace(name) == "" {
				return fmt.Errorf("--name: must not be empty")
			}
			return o.sign(g, func(r jwt.RegisteredClaims) jwt.Claims {
				return signing.UserClaims{Name: name, Groups: groups, RegisteredClaims: r}
			})
		},
	}
	o.add(cmd)
	cmd.Flags().StringVar(&name, "name", "", "the user's name")
	cmd.Flags().StringSliceVar(&groups, "group", nil, "groups that the user is a member of; may be given again")
	_ = cmd.MarkFlagRequired("name")
	return cmd
}
