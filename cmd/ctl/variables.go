package main

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// values are what {{ NAME }} stands for in files. Without any, files are taken
// as they are.
type values struct {
	of   map[string]string
	used map[string]bool
}

var (
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)
	// A place is two or three braces around a name. Names that begin with a dot
	// are those of templates in resources.
	place = regexp.MustCompile(`\{\{\{?\s*([#^/>&!]?)\s*([A-Za-z_][A-Za-z0-9_.-]*)\s*\}?\}\}`)
)

// variables reads NAME=VALUE.
func variables(given []string) (values, error) {
	v := values{of: map[string]string{}, used: map[string]bool{}}
	var errs []error
	for _, g := range given {
		name, value, ok := strings.Cut(g, "=")
		switch {
		case !ok || !variableName.MatchString(name):
			errs = append(errs, fmt.Errorf("--var: %q is not NAME=VALUE", g))
		default:
			v.of[name] = value
		}
	}
	return v, errors.Join(errs...)
}

// fill puts values into a file. Values go in as they are: who writes one with a
// line feed writes YAML.
func (v values) fill(file string, data []byte) ([]byte, error) {
	if len(v.of) == 0 {
		return data, nil
	}
	missing := map[string]bool{}
	var errs []error
	filled := place.ReplaceAllFunc(data, func(at []byte) []byte {
		m := place.FindSubmatch(at)
		name := string(m[2])
		value, ok := v.of[name]
		switch {
		case len(m[1]) > 0 && m[1][0] != '&':
			errs = append(errs, fmt.Errorf("%s: %s: a template may have names alone", file, at))
		case !ok:
			missing[name] = true
		default:
			v.used[name] = true
		}
		return []byte(value)
	})
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		errs = append(errs, fmt.Errorf("%s: has {{ %s }}; give it a value with --var %s=VALUE", file, name, name))
	}
	return filled, errors.Join(errs...)
}

// unused tells of values that no file asks for: a typing error looks like that.
func (v values) unused() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(v.of)) {
		if !v.used[name] {
			errs = append(errs, fmt.Errorf("--var %s: no file has {{ %s }}", name, name))
		}
	}
	return errors.Join(errs...)
}
