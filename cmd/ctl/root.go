package main

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/cmd/manual"
	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/mesh"
)

const rootHelp = `Speaks with a control plane of Weft.

As root on the control plane's own machine nothing has to be set. From
elsewhere, give --server https://HOST:5682, --ca-cert with the control plane's
ca.crt and --token-file with an API token; or set WEFT_SERVER, WEFT_CA_CERT and
WEFT_TOKEN_FILE.

Exit codes: 0 well, 1 a fault, 2 wrong usage.`

// global is what every command is told.
type global struct {
	terminal
	server    string
	tokenFile string
	caCert    string
	mesh      string
}

func rootCommand(t terminal) *cobra.Command {
	g := &global{terminal: t}
	root := &cobra.Command{
		Use:           "weftctl",
		Short:         "Speaks with a control plane of Weft",
		Long:          rootHelp,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(t.in)
	root.SetOut(t.out)
	root.SetErr(t.err)
	fs := root.PersistentFlags()
	fs.StringVar(&g.server, "server", cmp.Or(t.getenv("WEFT_SERVER"), "unix:///run/weft-cp/api.sock"),
		"control plane: http://host:port, https://host:port or unix:///path (WEFT_SERVER)")
	fs.StringVar(&g.tokenFile, "token-file", t.getenv("WEFT_TOKEN_FILE"), "file that holds an API token (WEFT_TOKEN_FILE)")
	fs.StringVar(&g.caCert, "ca-cert", t.getenv("WEFT_CA_CERT"), "PEM file with the authority of the control plane's certificate (WEFT_CA_CERT)")
	fs.StringVarP(&g.mesh, "mesh", "m", "default", "mesh to work in")
	root.AddCommand(
		applyCommand(g),
		diffCommand(g),
		explainCommand(g),
		getCommand(g),
		describeCommand(g),
		deleteCommand(g),
		exportCommand(g),
		inspectCommand(g),
		tokenCommand(g),
		joinTokenCommand(g),
		caCommand(g),
		generateCommand(g),
		versionCommand(g),
		manual.Command("1"),
	)
	return root
}

// client makes the client that the flags ask for.
func (g *global) client() (*api.Client, error) {
	cfg := api.ClientConfig{Server: g.server}
	if g.tokenFile != "" {
		b, err := os.ReadFile(g.tokenFile)
		if err != nil {
			return nil, fault{fmt.Errorf("read the API token (--token-file): %w", err)}
		}
		if cfg.Token = string(bytes.TrimSpace(b)); cfg.Token == "" {
			return nil, fault{fmt.Errorf("%s (--token-file) is empty; it must hold an API token", g.tokenFile)}
		}
		if strings.ContainsAny(cfg.Token, " \t\r\n") {
			return nil, fault{fmt.Errorf("%s (--token-file) must hold one API token and nothing else", g.tokenFile)}
		}
	}
	if g.caCert != "" {
		b, err := os.ReadFile(g.caCert)
		if err != nil {
			return nil, fault{fmt.Errorf("read the control plane's authority (--ca-cert): %w", err)}
		}
		cfg.Roots = x509.NewCertPool()
		if !cfg.Roots.AppendCertsFromPEM(b) {
			return nil, fault{fmt.Errorf("%s (--ca-cert) holds no certificate in PEM", g.caCert)}
		}
	}
	c, err := api.NewClient(cfg)
	if err != nil {
		return nil, fmt.Errorf("--server: %w", err)
	}
	return c, nil
}

// meshOf is the mesh in which resources of kind k are looked for.
func (g *global) meshOf(k *mesh.Kind) string {
	if k.Scope == mesh.Global {
		return ""
	}
	return g.mesh
}

// kindNamed finds the kind that somebody typed.
func kindNamed(arg string) (*mesh.Kind, error) {
	if k, ok := mesh.KindByArg(arg); ok {
		return k, nil
	}
	if near, ok := mesh.NearestKind(arg); ok {
		return nil, fmt.Errorf("there is no kind %q; did you mean %q?", arg, near.Singular)
	}
	return nil, fmt.Errorf("there is no kind %q; `weftctl get --help` lists them", arg)
}

// nameTyped refuses what cannot be a name in a URL.
func nameTyped(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("%q is not a name", name)
	}
	return nil
}

func singulars() []string {
	var names []string
	for _, k := range mesh.Kinds {
		names = append(names, k.Singular)
	}
	return names
}

// completeKindAndName offers kinds, then names that the control plane knows.
func (g *global) completeKindAndName(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return singulars(), cobra.ShellCompDirectiveNoFileComp
	case 1:
		if k, err := kindNamed(args[0]); err == nil {
			return g.names(cmd, k), cobra.ShellCompDirectiveNoFileComp
		}
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// names are for completion, which stays silent about faults.
func (g *global) names(cmd *cobra.Command, k *mesh.Kind) []string {
	c, err := g.client()
	if err != nil {
		return nil
	}
	rs, err := c.List(cmd.Context(), k, g.meshOf(k))
	if err != nil {
		return nil
	}
	var names []string
	for _, r := range rs {
		names = append(names, r.Meta.Name)
	}
	slices.Sort(names)
	return names
}
