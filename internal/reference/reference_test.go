package reference

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the files anew")

// TestGenerated holds the files of the reference against what the code says.
func TestGenerated(t *testing.T) {
	const root = "../.."
	c, err := readComments(root + "/pkg/mesh")
	if err != nil {
		t.Fatal(err)
	}
	want, err := pages(c, root+"/docs/examples", root+"/pkg/mesh/testdata/refused")
	if err != nil {
		t.Fatal(err)
	}
	s, err := schemas(c)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{root + "/pkg/api/openapi/schemas.json": string(s)}
	for name, text := range want {
		files[root+"/docs/resources/"+name] = text
	}
	old, err := filepath.Glob(root + "/docs/resources/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Concat(slices.Sorted(maps.Keys(files)), old) {
		text, ours := files[name]
		is, err := os.ReadFile(name)
		switch {
		case err == nil && ours && string(is) == text:
		case *update && ours:
			err = os.WriteFile(name, []byte(text), 0o644)
		case *update:
			err = os.Remove(name)
		case !ours:
			t.Errorf("%s is of no kind; run make generate", name)
		default:
			t.Errorf("%s is not what the code says (-is +says); run make generate: %v\n%s", name, err, cmp.Diff(string(is), text))
		}
		if *update && err != nil {
			t.Fatal(err)
		}
	}
}

// What a reader needs to know is said of everything.
func TestEverythingIsDescribed(t *testing.T) {
	c, err := readComments("../../pkg/mesh")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Retry", "MeshTimeoutConf", "Targeted"} {
		if c[name] == "" {
			t.Errorf("%s has no comment", name)
		}
	}
	if got := c["MeshTimeoutConf.IdleTimeout"]; got != "with nothing sent; default 1h" {
		t.Errorf("the comment of a field is %q", got)
	}
}
