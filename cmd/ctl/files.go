package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// maxInput is how much is read from one file, in bytes.
const maxInput = 64 << 20

// input is where resources are read from.
type input struct {
	files []string
	vars  []string // NAME=VALUE
}

// flags declares what says so; a file has to be named.
func (in *input) flags(cmd *cobra.Command) {
	in.optional(cmd)
	_ = cmd.MarkFlagRequired("file")
}

func (in *input) optional(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&in.files, "file", "f", nil, `file or folder to read, "-" is standard input; may be given again`)
	cmd.Flags().StringArrayVarP(&in.vars, "var", "v", nil, "NAME=VALUE, what {{ NAME }} stands for; may be given again")
}

// unfolded puts in the place of a folder the files of resources in it, by name.
// What begins with a dot is passed over.
func unfolded(names []string) (files []string, err error) {
	var errs []error
	for _, name := range names {
		if info, err := os.Stat(name); name == "-" || err != nil || !info.IsDir() {
			files = append(files, name) // reading it tells what is wrong
			continue
		}
		before := len(files)
		errs = append(errs, filepath.WalkDir(name, func(path string, e fs.DirEntry, err error) error {
			hidden := path != name && strings.HasPrefix(e.Name(), ".")
			switch {
			case err != nil:
				return err
			case e.IsDir() && hidden:
				return fs.SkipDir
			case !e.IsDir() && !hidden && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)):
				files = append(files, path)
			}
			return nil
		}))
		if len(files) == before {
			errs = append(errs, fmt.Errorf("%s: has no file that ends in .yaml, .yml or .json", name))
		}
	}
	return files, errors.Join(errs...)
}

// read returns the resources of all files in the order in which they must be
// applied, or everything that is wrong with them.
func (g *global) read(in input) ([]mesh.Resource, error) {
	var rs []mesh.Resource
	vars, err := variables(in.vars)
	errs := []error{err}
	files, err := unfolded(in.files)
	errs = append(errs, err)
	first := map[mesh.Key]string{}
	for _, file := range files {
		data, err := g.readFile(file)
		if err == nil {
			data, err = vars.fill(file, data)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		empty := true
		for d := range api.Documents(data) {
			empty = false
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
		if empty {
			errs = append(errs, fmt.Errorf("%s: has no document in it", file))
		}
	}
	errs = append(errs, vars.unused())
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(err, errors.New("nothing was changed"))
	}
	return inOrder(rs), nil
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
