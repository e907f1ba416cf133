// Package settings fills a program's configuration: defaults, then a YAML
// file, then the environment, then flags; the later one wins.
//
// The flags are the only table of what can be set: the file's keys are the
// flags' names in camel case, the environment's are WEFT_ and the name in
// upper case. So a setting that exists as one exists as all three.
package settings

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"
)

// EnvPrefix begins every environment variable that is read.
const EnvPrefix = "WEFT_"

// Load writes file and environment into the variables that flags are bound
// to, except where a flag was given on the command line. An empty file name,
// or an optional file that is not there, is passed over. The error names every
// fault with its source.
//
// Lists are read last, when what flags are bound to is whole.
func Load(flags *pflag.FlagSet, file string, optional bool, getenv func(string) string, lists ...List) error {
	given := map[string]bool{}
	// Not Visit: the flags may have been parsed as part of a larger set.
	flags.VisitAll(func(f *pflag.Flag) { given[f.Name] = f.Changed })
	var (
		errs   []error
		values map[string]any
	)
	if file != "" {
		var err error
		if values, err = read(file, optional); err != nil {
			errs = append(errs, err)
		}
		errs = append(errs, fromFile(flags, given, file, values, lists)...)
	}
	flags.VisitAll(func(f *pflag.Flag) {
		if v := getenv(Env(f.Name)); v != "" && !given[f.Name] && f.Annotations[notAKey] == nil {
			if err := set(f, v); err != nil {
				errs = append(errs, fmt.Errorf("environment %s=%q: %w", Env(f.Name), v, err))
			}
		}
	})
	for _, l := range lists {
		errs = append(errs, l.load(file, values[l.Key])...)
	}
	return errors.Join(errs...)
}

func read(file string, optional bool) (values map[string]any, err error) {
	data, err := os.ReadFile(file)
	if optional && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if err := yaml.UnmarshalStrict(data, &values); err != nil {
		return nil, fmt.Errorf("%s: not a YAML map: %w", file, err)
	}
	return values, nil
}

func fromFile(flags *pflag.FlagSet, given map[string]bool, file string, values map[string]any, lists []List) (errs []error) {
	for _, key := range sortedKeys(values) {
		if slices.ContainsFunc(lists, func(l List) bool { return l.Key == key }) {
			continue
		}
		f := byKey(flags, key)
		if f == nil {
			known := keys(flags)
			for _, l := range lists {
				known = append(known, l.Key)
			}
			errs = append(errs, unknown(file, key, known))
			continue
		}
		if given[f.Name] {
			continue
		}
		if err := set(f, values[key]); err != nil {
			errs = append(errs, fmt.Errorf("%s: %s: %w", file, key, err))
		}
	}
	return errs
}

// set replaces a flag's value by one from file or environment.
func set(f *pflag.Flag, value any) error {
	switch v := value.(type) {
	case nil:
		return errors.New("has no value; leave the line out to keep the default")
	case []any:
		list, ok := f.Value.(pflag.SliceValue)
		if !ok {
			return fmt.Errorf("is a list, but must be %s", f.Value.Type())
		}
		var items []string
		for _, item := range v {
			text, err := listed(item)
			if err != nil {
				return err
			}
			items = append(items, text)
		}
		return list.Replace(items)
	case map[string]any:
		if f.Value.Type() != "stringToString" {
			return fmt.Errorf("is a map, but must be %s", f.Value.Type())
		}
		if len(v) == 0 {
			return nil // as it is by default
		}
		var pairs []string
		for _, k := range sortedKeys(v) {
			pairs = append(pairs, fmt.Sprintf("%s=%v", k, v[k]))
		}
		return f.Value.Set(strings.Join(pairs, ","))
	default:
		if list, ok := f.Value.(pflag.SliceValue); ok {
			return list.Replace(strings.Split(fmt.Sprint(v), ","))
		}
		return f.Value.Set(fmt.Sprint(v))
	}
}

// listed is an entry of a list as text. "- port: 25" is "port:25".
func listed(item any) (string, error) {
	switch v := item.(type) {
	case map[string]any:
		for key, value := range v {
			if _, deeper := value.(map[string]any); len(v) == 1 && !deeper {
				text, err := listed(value)
				return key + ":" + text, err
			}
		}
	case []any, nil:
	default:
		return fmt.Sprint(v), nil
	}
	return "", fmt.Errorf("has an entry %.80q that is no text", fmt.Sprint(item))
}

// YAML prints the effective settings as a file that gives the same ones.
func YAML(flags *pflag.FlagSet, lists ...List) ([]byte, error) {
	return printed(flags, func(*pflag.Flag) bool { return true }, lists)
}

// Changed is YAML without the settings that have their default, for a file
// that shall follow later defaults.
func Changed(flags *pflag.FlagSet, lists ...List) ([]byte, error) {
	return printed(flags, func(f *pflag.Flag) bool { return f.Value.String() != f.DefValue }, lists)
}

// Values are the effective settings, by the file's keys.
func Values(flags *pflag.FlagSet) map[string]any {
	return asMap(flags, func(*pflag.Flag) bool { return true })
}

func printed(flags *pflag.FlagSet, wanted func(*pflag.Flag) bool, lists []List) ([]byte, error) {
	out := asMap(flags, wanted)
	for _, l := range lists {
		var entries []any
		for _, entry := range l.Entries() {
			entries = append(entries, asMap(entry, wanted))
		}
		if entries != nil {
			out[l.Key] = entries
		}
	}
	return yaml.Marshal(out)
}

func asMap(flags *pflag.FlagSet, wanted func(*pflag.Flag) bool) map[string]any {
	out := map[string]any{}
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Annotations[notAKey] == nil && wanted(f) {
			out[Key(f.Name)] = typed(f)
		}
	})
	return out
}

func typed(f *pflag.Flag) any {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		return append([]string{}, list.GetSlice()...) // nil would print as null
	}
	var v any = f.Value.String()
	switch f.Value.Type() {
	case "string", "duration":
	case "stringToString":
		m := map[string]string{}
		for pair := range strings.SplitSeq(strings.Trim(f.Value.String(), "[]"), ",") {
			if k, val, ok := strings.Cut(pair, "="); ok {
				m[k] = val
			}
		}
		v = m
	default: // numbers and booleans are the same words in YAML
		_ = yaml.Unmarshal([]byte(f.Value.String()), &v)
	}
	return v
}

const notAKey = "weft/not-a-key"

// FlagOnly takes flags out of file and environment: those that say where the
// file is, or what to do once.
func FlagOnly(flags *pflag.FlagSet, names ...string) {
	for _, n := range names {
		if err := flags.SetAnnotation(n, notAKey, []string{"true"}); err != nil {
			panic(err) // a name that is not among the flags is a fault of the code
		}
	}
}

// Key is a flag's name in the file: "data-dir" is "dataDir".
func Key(flag string) string {
	parts := strings.Split(flag, "-")
	for i, p := range parts[1:] {
		parts[i+1] = strings.ToUpper(p[:1]) + p[1:]
	}
	return strings.Join(parts, "")
}

// Env is a flag's name in the environment: "data-dir" is "WEFT_DATA_DIR".
func Env(flag string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

func byKey(flags *pflag.FlagSet, key string) (found *pflag.Flag) {
	flags.VisitAll(func(f *pflag.Flag) {
		if Key(f.Name) == key && f.Annotations[notAKey] == nil {
			found = f
		}
	})
	return found
}

func keys(flags *pflag.FlagSet) (all []string) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Annotations[notAKey] == nil {
			all = append(all, Key(f.Name))
		}
	})
	return all
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	out := make([]K, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
