package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/mesh"
)

func getCommand(g *global) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:               "get KIND [NAME]",
		Short:             "Show resources",
		Long:              "Shows the resources of a kind, or one of them.\n\nKinds: " + strings.Join(singulars(), ", ") + ".",
		Example:           "  weftctl get dataplanes\n  weftctl get mesh default -o yaml",
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: g.completeKindAndName,
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := kindNamed(args[0])
			if err != nil {
				return err
			}
			if err := knownOutput(output, tables); err != nil {
				return err
			}
			form := printers[output]
			if len(args) == 1 {
				err = g.list(cmd.Context(), k, form.list)
			} else if err = nameTyped(args[1]); err == nil {
				err = g.getOne(cmd.Context(), k, args[1], form.one)
			}
			if note := k.Note(); note != "" && err == nil {
				fmt.Fprintf(g.err, "note: %s\n", note)
			}
			return err
		},
	}
	tableFlag(cmd, &output)
	return cmd
}

// A printer is one form of output.
type printer struct {
	one  func(*global, mesh.Resource) error
	list func(*global, *mesh.Kind, []mesh.Resource) error
}

var printers = map[string]printer{
	outputTable: {
		one:  func(g *global, r mesh.Resource) error { return g.table(r.Kind, []mesh.Resource{r}) },
		list: (*global).table,
	},
	outputYAML: {one: (*global).yaml, list: (*global).yamlList},
	outputJSON: {one: (*global).json, list: (*global).jsonList},
}

func (g *global) getOne(ctx context.Context, k *mesh.Kind, name string, show func(*global, mesh.Resource) error) error {
	c, err := g.client()
	if err != nil {
		return err
	}
	r, err := c.Get(ctx, k, g.meshOf(k), name)
	if err != nil {
		return fault{about(mesh.Key{Kind: k.Name, Mesh: g.meshOf(k), Name: name}, err)}
	}
	return faultOrNil(show(g, r))
}

func (g *global) list(ctx context.Context, k *mesh.Kind, show func(*global, *mesh.Kind, []mesh.Resource) error) error {
	c, err := g.client()
	if err != nil {
		return err
	}
	rs, err := c.List(ctx, k, g.meshOf(k))
	if err != nil {
		return fault{inMesh(g.meshOf(k), err)}
	}
	return faultOrNil(show(g, k, rs))
}

func faultOrNil(err error) error {
	if err != nil {
		return fault{err}
	}
	return nil
}

func (g *global) json(r mesh.Resource) error {
	b, err := api.Encode(r)
	if err != nil {
		return err
	}
	return indented(g.out, b)
}

func (g *global) jsonList(_ *mesh.Kind, rs []mesh.Resource) error {
	items := []json.RawMessage{}
	for _, r := range rs {
		b, err := api.Encode(r)
		if err != nil {
			return err
		}
		items = append(items, b)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(api.NewPage(len(items), items, "")); err != nil {
		return err
	}
	return indented(g.out, b.Bytes())
}

func indented(w io.Writer, doc []byte) error {
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(doc), "", "  "); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err := b.WriteTo(w)
	return err
}

func (g *global) yaml(r mesh.Resource) error {
	b, err := api.EncodeYAML(r)
	if err != nil {
		return err
	}
	_, err = g.out.Write(b)
	return err
}

// yamlList prints documents that apply reads again.
func (g *global) yamlList(_ *mesh.Kind, rs []mesh.Resource) error {
	for _, r := range rs {
		if _, err := io.WriteString(g.out, "---\n"); err != nil {
			return err
		}
		if err := g.yaml(r); err != nil {
			return err
		}
	}
	return nil
}
