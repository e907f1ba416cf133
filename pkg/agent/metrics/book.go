package metrics

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/proto"
)

// applicationLabel tells of whose application a metric is: two that are
// written with one library tell metrics of the same names.
const applicationLabel = "weft_application"

// ownPrefix begins the names of what is told of the scrape itself.
const ownPrefix = "weft_scrape_"

// maxLine bounds one line of Envoy's, in bytes.
const maxLine = 1 << 20

// errWrite says that nobody reads the answer any more.
var errWrite = errors.New("write the answer")

// A book holds families until they are written, each under its name once. A
// name has one type: Envoy's, then that of who told it first. Who tells it with
// another is not heard on it, and that is counted.
type book struct {
	families map[string]*family
	lost     map[string]int // families of applications that clash, by application
}

type family struct {
	kind    string
	help    string
	samples bytes.Buffer
	tellers []string
}

func newBook() *book { return &book{families: map[string]*family{}, lost: map[string]int{}} }

// add puts families in, under an application's name, "" for the agent's own.
func (b *book) add(families []*dto.MetricFamily, application string) {
	var text bytes.Buffer
	for _, mf := range families {
		if application != "" {
			if strings.HasPrefix(mf.GetName(), ownPrefix) {
				b.lost[application]++
				continue
			}
			label(mf, application)
		}
		f := b.families[mf.GetName()]
		kind := kindOf(mf)
		if f == nil {
			f = &family{kind: kind, help: mf.GetHelp()}
		} else if f.kind != kind {
			b.lost[application]++
			continue
		}
		text.Reset()
		if _, err := expfmt.MetricFamilyToText(&text, mf); err != nil {
			b.lost[application]++
			continue
		}
		b.families[mf.GetName()] = f
		f.tellers = append(f.tellers, application)
		for line := range bytes.Lines(text.Bytes()) {
			if line[0] != '#' {
				f.samples.Write(line)
			}
		}
	}
}

func kindOf(mf *dto.MetricFamily) string { return strings.ToLower(mf.GetType().String()) }

// label marks every metric of a family as an application's.
func label(mf *dto.MetricFamily, application string) {
	mine := &dto.LabelPair{Name: proto.String(applicationLabel), Value: proto.String(application)}
	for _, m := range mf.GetMetric() {
		m.Label = slices.DeleteFunc(m.Label, func(l *dto.LabelPair) bool { return l.GetName() == applicationLabel })
		m.Label = append(m.Label, mine)
	}
}

// merge copies Envoy's text to w. Families of the book that Envoy has too come
// right after its own, so that all of one name stand together.
func (b *book) merge(w io.Writer, envoy io.Reader) error {
	out := bufio.NewWriter(w)
	in := bufio.NewReaderSize(envoy, maxLine)
	var open *family
	for {
		line, err := in.ReadSlice('\n')
		if err != nil { // and what is half a line stays out
			open.writeSamples(out)
			if err := out.Flush(); err != nil {
				return fmt.Errorf("%w: %w", errWrite, err)
			}
			if errors.Is(err, io.EOF) && len(line) == 0 {
				return nil
			}
			return fmt.Errorf("read Envoy's metrics: %w", err)
		}
		if head, ok := bytes.CutPrefix(line, []byte("# TYPE ")); ok {
			open.writeSamples(out)
			name, kind, _ := strings.Cut(string(head), " ")
			open = b.take(name, strings.TrimSpace(kind))
		}
		if _, err := out.Write(line); err != nil {
			return fmt.Errorf("%w: %w", errWrite, err)
		}
	}
}

// take removes a family that Envoy tells itself, and returns it where it is of
// the same type.
func (b *book) take(name, kind string) *family {
	f := b.families[name]
	if f == nil {
		return nil
	}
	delete(b.families, name)
	if f.kind == kind {
		return f
	}
	for _, who := range f.tellers {
		b.lost[who]++
	}
	return nil
}

func (f *family) writeSamples(w io.Writer) {
	if f != nil {
		_, _ = f.samples.WriteTo(w) // a bufio.Writer keeps its error
	}
}

// rest writes the families that Envoy does not have, by name.
func (b *book) rest(w io.Writer) error {
	out := bufio.NewWriter(w)
	names := make([]string, 0, len(b.families))
	for name := range b.families {
		names = append(names, name)
	}
	slices.SortFunc(names, cmp.Compare[string])
	for _, name := range names {
		f := b.families[name]
		if f.help != "" {
			fmt.Fprintf(out, "# HELP %s %s\n", name, helpEscape.Replace(f.help))
		}
		fmt.Fprintf(out, "# TYPE %s %s\n", name, f.kind)
		f.writeSamples(out)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("%w: %w", errWrite, err)
	}
	return nil
}

var helpEscape = strings.NewReplacer("\\", `\\`, "\n", `\n`)
