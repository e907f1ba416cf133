package settings

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// A List is a key of the file that holds a list of maps, each of which sets
// flags of its own. It exists in the file alone.
type List struct {
	Key string
	// Next gives the flags of one entry more, with their defaults.
	Next func() *pflag.FlagSet
	// Entries are those of all entries, in their order.
	Entries func() []*pflag.FlagSet
}

func (l List) load(file string, value any) (errs []error) {
	at := func(i int) string { return fmt.Sprintf("%s: %s[%d]", file, l.Key, i) }
	if value == nil {
		return nil
	}
	entries, ok := value.([]any)
	if !ok {
		return []error{fmt.Errorf("%s: %s: must be a list, with a dash before each entry", file, l.Key)}
	}
	for i, entry := range entries {
		values, ok := entry.(map[string]any)
		if !ok {
			errs = append(errs, fmt.Errorf("%s: must be a map of settings, such as \"- name: web-1\"", at(i)))
			continue
		}
		flags := l.Next()
		for _, key := range sortedKeys(values) {
			f := byKey(flags, key)
			if f == nil {
				errs = append(errs, unknown(at(i), key, keys(flags)))
				continue
			}
			if err := set(f, values[key]); err != nil {
				errs = append(errs, fmt.Errorf("%s.%s: %w", at(i), key, err))
			}
		}
	}
	return errs
}

// Inherit gives flags the values of those of the same name in from, as their
// defaults.
func Inherit(flags, from *pflag.FlagSet) error {
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		of := from.Lookup(f.Name)
		if of == nil {
			return
		}
		if err := Copy(f, of); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", Key(f.Name), err))
		}
		f.DefValue = f.Value.String()
	})
	return errors.Join(errs...)
}

// Copy sets a flag to what another of its type has.
func Copy(f, of *pflag.Flag) error {
	switch v := typed(of).(type) {
	case []string:
		return f.Value.(pflag.SliceValue).Replace(v)
	case map[string]string:
		values := make(map[string]any, len(v))
		for k, value := range v {
			values[k] = value
		}
		return set(f, values)
	default:
		return f.Value.Set(of.Value.String())
	}
}

func unknown(place, key string, known []string) error {
	return fmt.Errorf("%s: %s: unknown setting; known are %s", place, key, strings.Join(known, ", "))
}
