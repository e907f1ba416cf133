// Package reference writes the reference of all kinds from their table, their
// types and their comments: pages for people and schemas for programs.
package reference

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

// comments are those of one package's types and their fields.
type comments map[string]string // "Retry", "Retry.Conf"

func readComments(dir string) (comments, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	all, constants := comments{}, map[string]string{}
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
			if ok && types.Tok == token.CONST {
				readConstants(types, constants)
			}
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
	for of, comment := range all {
		all[of] = codeName.ReplaceAllStringFunc(comment, func(word string) string {
			return cmp.Or(constants[word], word)
		})
	}
	return all, nil
}

// A codeName has a capital inside: readers of a page do not know it.
var codeName = regexp.MustCompile(`\b[A-Z][a-z]+[A-Z]\w*\b`)

// readConstants notes those that are texts.
func readConstants(d *ast.GenDecl, into map[string]string) {
	for _, spec := range d.Specs {
		v := spec.(*ast.ValueSpec)
		for i, name := range v.Names {
			if i >= len(v.Values) {
				continue
			}
			if lit, ok := v.Values[i].(*ast.BasicLit); ok && lit.Kind == token.STRING {
				into[name.Name], _ = strconv.Unquote(lit.Value)
			}
		}
	}
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
