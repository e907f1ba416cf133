package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// maxInput is how much apply reads from one file, in bytes.
const maxInput = 64 << 20

func applyCommand(g *global) *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Create or update resources from YAML or JSON files",
		Long: `Creates or updates resources from YAML or JSON files.

A file may hold several YAML documents with lines "---" between them. All
documents are checked before the first one is sent. A resource that names no
mesh goes into that of --mesh.`,
		Example: "  weftctl apply -f mesh.yaml -f permissions.yaml\n  weftctl get traffic-permissions -o yaml | weftctl apply -f -",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.apply(cmd.Context(), files)
		},
	}
	cmd.Flags().StringArrayVarP(&files, "file", "f", nil, `file to read, "-" is standard input; may be given again`)
	_ = cmd.MarkFlagRequired("file")
	return cmd
}

func (g *global) apply(ctx context.Context, files []string) error {
	c, err := g.client()
	if err != nil {
		return err
	}
	rs, err := g.read(files)
	if err != nil {
		return fault{err}
	}
	var errs []error
	for _, r := range rs {
		what, err := g.applyOne(ctx, c, r)
		if err != nil {
			errs = append(errs, about(r.Key(), err))
			if status(err) == 0 {
				break // no answer: the next one would fail alike
			}
			continue
		}
		fmt.Fprintf(g.out, "%s: %s\n", r.Key(), what)
	}
	if len(errs) > 0 {
		return fault{errors.Join(errs...)}
	}
	return nil
}

func (g *global) applyOne(ctx context.Context, c *api.Client, r mesh.Resource) (string, error) {
	switch stored, err := c.Get(ctx, r.Kind, r.Meta.Mesh, r.Meta.Name); {
	case err == nil && same(stored, r):
		return "unchanged", nil
	case err != nil && !notFound(err):
		return "", err
	}
	created, warnings, err := c.Put(ctx, r)
	if err != nil {
		return "", err
	}
	for _, w := range warnings {
		fmt.Fprintf(g.err, "warning: %s: %s\n", r.Key(), w)
	}
	if created {
		return "created", nil
	}
	return "updated", nil
}

// same tells whether writing wish would change nothing: labels that the
// control plane computes do not count.
func same(stored, wish mesh.Resource) bool {
	plain := func(r mesh.Resource) string {
		labels := map[string]string{}
		for k, v := range r.Meta.Labels {
			if _, asked := wish.Meta.Labels[k]; asked || !strings.HasPrefix(k, "kuma.io/") {
				labels[k] = v
			}
		}
		b, err := api.Encode(mesh.Resource{Kind: r.Kind, Meta: mesh.Meta{Mesh: r.Meta.Mesh, Name: r.Meta.Name, Labels: labels}, Spec: r.Spec})
		if err != nil {
			return err.Error()
		}
		return string(b)
	}
	return plain(stored) == plain(wish)
}

// read returns the resources of all files in the order in which they must be
// applied, or everything that is wrong with them.
func (g *global) read(files []string) ([]mesh.Resource, error) {
	var rs []mesh.Resource
	var errs []error
	first := map[mesh.Key]string{}
	for _, file := range files {
		data, err := g.readFile(file)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		ds := api.Documents(data)
		if len(ds) == 0 {
			errs = append(errs, fmt.Errorf("%s: has no document in it", file))
		}
		for _, d := range ds {
			r, at := d.Resource, fmt.Sprintf("%s: document %d (line %d)", file, d.Index, d.Line)
			if err := d.Err; err != nil {
				errs = append(errs, listed(at, err))
				continue
			}
			if r.Kind.Scope == mesh.InMesh && r.Meta.Mesh == "" {
				r.Meta.Mesh = g.mesh
			}
			if err := r.Validate().Err(); err != nil {
				errs = append(errs, listed(at+", "+r.Key().String(), err))
			} else if other, twice := first[r.Key()]; twice {
				errs = append(errs, fmt.Errorf("%s: is %s, as is %s", at, r.Key(), other))
			}
			first[r.Key()] = at
			rs = append(rs, r)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(append(errs, errors.New("nothing was applied"))...)
	}
	slices.SortStableFunc(rs, func(a, b mesh.Resource) int {
		return cmp.Compare(slices.Index(mesh.Kinds, a.Kind), slices.Index(mesh.Kinds, b.Kind))
	})
	return rs, nil
}

func (g *global) readFile(file string) ([]byte, error) {
	in := g.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", file, err)
	case len(data) > maxInput:
		return nil, fmt.Errorf("%s: has more than %d bytes", file, maxInput)
	}
	return data, nil
}

// listed puts each violation on a line of its own.
func listed(at string, err error) error {
	v, ok := errors.AsType[mesh.Violations](err)
	if !ok {
		return fmt.Errorf("%s: %w", at, err)
	}
	for _, w := range v {
		at += "\n* "
		if w.Field != "" {
			at += w.Field + ": "
		}
		at += w.Reason
	}
	return errors.New(at)
}
