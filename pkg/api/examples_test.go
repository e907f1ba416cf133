package api_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// examples is where people find a document of each kind.
const examples = "../../docs/examples"

// Every kind that can be written has an example, which is read, valid, and the
// same when it was written out and read again.
func TestExamples(t *testing.T) {
	files := map[string]bool{}
	for _, k := range mesh.Kinds {
		if k.ReadOnly {
			continue
		}
		file := k.Singular + ".yaml"
		files[file] = true
		data, err := os.ReadFile(filepath.Join(examples, file))
		if err != nil {
			t.Errorf("%s has no example: %v", k.Name, err)
			continue
		}
		r, err := api.Decode(data)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if r.Kind != k {
			t.Errorf("%s is of the kind %s", file, r.Kind.Name)
		}
		if err := r.Validate().Err(); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		sameAgain(t, r)
	}
	all, err := os.ReadDir(examples)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if !files[f.Name()] {
			t.Errorf("%s is an example of no kind", f.Name())
		}
	}
}
