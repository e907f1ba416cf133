package api_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// addExamples hands over a document of each kind, as YAML and as JSON, and
// those that are refused.
func addExamples(f *testing.F, add func(doc []byte)) {
	f.Helper()
	for _, pattern := range []string{examples + "/*.yaml", "../mesh/testdata/refused/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatal(pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			for d := range api.Documents(data) {
				if d.Err != nil {
					continue
				}
				doc, err := api.Encode(d.Resource)
				if err != nil {
					f.Fatal(err)
				}
				add(doc)
			}
			add(data)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		dataplane, "", "{}", "[]", "null", `{"type":"Mesh","name":"a","mtls":{"enabledBackend":"ca-1","backends":[{"name":"ca-1","type":"builtin"}]}}`,
		"type: Secret\nmesh: a\nname: b\ndata: AAEC\n", "type: Mesh\nname: a\ntracing: {backends: [{sampling: 1.50}, {sampling: 1e400}, {sampling: .nan}]}\n",
		"type: &a Mesh\nname: *a\n", "{\"type\":\"Mesh\",\"name\":\"\\ud800\"}", "? [a]\n: b", "a: !!binary x", "a: !!float x", "1: 2\ntrue: 3", "type: Dataplane\nprobes: {port: 1}\n",
		"<<: [1]", "a: {<<: {b: 1}}", "---\n---\n", "%YAML 1.1\n---\na: 2026-01-01",
	} {
		f.Add([]byte(s))
	}
	addExamples(f, func(doc []byte) { f.Add(doc) })
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = api.DecodeAll(data)
		r, err := api.Decode(data)
		if err != nil {
			if !errors.Is(err, mesh.ErrInvalid) && !errors.Is(err, api.ErrTooLarge) {
				t.Errorf("error %v is of no known kind", err)
			}
			return
		}
		_ = r.Validate() // must not panic
		sameAgain(t, r)
	})
}

// FuzzDecodeAs reads documents as those of a kind, strictly and leniently:
// nobody has to name the kind, so that more of them get to its fields.
func FuzzDecodeAs(f *testing.F) {
	addExamples(f, func(doc []byte) {
		if r, err := api.Decode(doc); err == nil {
			f.Add(uint8(slices.Index(mesh.Kinds, r.Kind)), doc)
		}
	})
	f.Add(uint8(0), []byte("labels: {a: ~}\nmtls: {backends: [~]}\n"))
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		k := mesh.Kinds[int(kind)%len(mesh.Kinds)]
		r, unknown, err := api.DecodeLenient(k, data)
		if err == nil {
			_ = r.Validate()
			sameAgain(t, r)
		}
		strict, strictErr := api.DecodeAs(k, data)
		switch {
		case err == nil && len(unknown) == 0 && strictErr != nil:
			t.Errorf("leniently nothing was left out, but strictly: %v", strictErr)
		case strictErr != nil && !errors.Is(strictErr, mesh.ErrInvalid) && !errors.Is(strictErr, api.ErrTooLarge):
			t.Errorf("error %v is of no known kind", strictErr)
		case strictErr == nil:
			_ = strict.Validate()
		}
	})
}
