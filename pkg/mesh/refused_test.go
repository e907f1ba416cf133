package mesh_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/mesh"
)

var update = flag.Bool("update", false, "rewrite what is expected")

// Each file of testdata/refused has documents with faults, and before each, as
// comments, all that is said of it. Comments that begin with "##" are for
// readers.
func TestRefused(t *testing.T) {
	files, err := filepath.Glob("testdata/refused/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var want bytes.Buffer
		for i, doc := range strings.Split(string(data), "---\n") {
			if i > 0 {
				want.WriteString("---\n")
			}
			notes, body := apart(doc)
			want.WriteString(notes + faults(t, file, body) + body)
		}
		if want.String() == string(data) {
			continue
		}
		if *update {
			if err := os.WriteFile(file, want.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		t.Errorf("%s is not as expected (-want +got); go test ./pkg/mesh -run Refused -update rewrites it:\n%s", file, cmp.Diff(string(data), want.String()))
	}
}

// apart separates readers' notes and the document; what is expected is left
// out.
func apart(doc string) (notes, body string) {
	for l := range strings.Lines(doc) {
		switch {
		case strings.HasPrefix(l, "##"):
			notes += l
		case !strings.HasPrefix(l, "# "):
			body += l
		}
	}
	return notes, body
}

// faults is what is said of a document, a comment for each fault.
func faults(t *testing.T, file, doc string) string {
	t.Helper()
	r, err := api.Decode([]byte(doc))
	if err == nil {
		err = r.Validate().Err()
	}
	if err == nil {
		return "# nothing\n"
	}
	v, ok := errors.AsType[mesh.Violations](err)
	if !ok {
		t.Fatalf("%s: %v\n%s", file, err, doc)
	}
	var b strings.Builder
	for l := range strings.Lines(lines(v)) {
		b.WriteString("# " + l)
	}
	return b.String()
}
