// Package reference writes the reference of all kinds from their table, their
// types and their comments: pages for people and schemas for programs.
package reference

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
)

// comments are those of one package's types and their fields.
type comments map[string]string // "Retry", "Retry.Conf"

func readComments(dir string) (comments, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	all := comments{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		for _, d := range f.Decls {
			types, ok := d.(*ast.GenDecl)
			if !ok || types.Tok != token.TYPE {
				continue
			}
			for _, spec := range types.Specs {
				t := spec.(*ast.TypeSpec)
				all[t.Name.Name] = text(types.Doc, t.Doc, t.Comment)
				s, ok := t.Type.(*ast.StructType)
				if !ok {
					continue
				}
				for _, field := range s.Fields.List {
					for _, name := range field.Names {
						all[t.Name.Name+"."+name.Name] = text(field.Doc, field.Comment)
					}
				}
			}
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no types", dir)
	}
	return all, nil
}

// text joins comments to one line.
func text(groups ...*ast.CommentGroup) string {
	var parts []string
	for _, g := range groups {
		if g != nil {
			parts = append(parts, strings.Join(strings.Fields(g.Text()), " "))
		}
	}
	return strings.Join(parts, " ")
}

// of returns the comment of a type.
func (c comments) of(t reflect.Type) string { return c[plainName(t)] }

// ofField returns the comment of a field of t.
func (c comments) ofField(t reflect.Type, field string) string { return c[plainName(t)+"."+field] }

// plainName is the name of a type without what it was made for.
func plainName(t reflect.Type) string {
	name, _, _ := strings.Cut(t.Name(), "[")
	return name
}
