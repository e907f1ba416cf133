package settings

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"
)

// A Section is a part of an example, under some words of its own.
type Section struct {
	Words string
	Names []string // of flags
}

// Example prints a file that has every setting, with its default and with what
// it is for, in the order of sections. note adds a sentence to a flag's words. A
// flag that no section has, or that there is not, is an error.
func Example(flags *pflag.FlagSet, sections []Section, note func(name string) string) ([]byte, error) {
	var (
		b    bytes.Buffer
		done []string
	)
	for _, s := range sections {
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		comment(&b, s.Words)
		for _, name := range s.Names {
			f := flags.Lookup(name)
			if f == nil {
				return nil, fmt.Errorf("example: there is no setting %q", name)
			}
			done = append(done, name)
			line, err := yaml.Marshal(map[string]any{Key(name): typed(f)})
			if err != nil {
				return nil, err
			}
			words := strings.ToUpper(f.Usage[:1]) + f.Usage[1:] + "."
			if more := note(name); more != "" {
				words += " " + more
			}
			b.WriteByte('\n')
			comment(&b, words)
			b.Write(line)
		}
	}
	var missing []string
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Annotations[notAKey] == nil && !slices.Contains(done, f.Name) {
			missing = append(missing, f.Name)
		}
	})
	if len(missing) > 0 {
		return nil, fmt.Errorf("example: no section has %s", strings.Join(missing, ", "))
	}
	return b.Bytes(), nil
}

// commentWidth is how long lines of comments get, in bytes.
const commentWidth = 78

// comment writes words in lines that begin with "# "; lines of its own stay.
func comment(b *bytes.Buffer, words string) {
	for line := range strings.SplitSeq(words, "\n") {
		width := 0
		b.WriteByte('#')
		lead := len(line) - len(strings.TrimLeft(line, " "))
		b.WriteString(strings.Repeat(" ", lead))
		for word := range strings.FieldsSeq(line) {
			if width > 0 && width+1+len(word) > commentWidth {
				b.WriteString("\n#")
				width = 0
			}
			b.WriteString(" " + word)
			width += 1 + len(word)
		}
		b.WriteByte('\n')
	}
}
