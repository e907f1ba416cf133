package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/mesh"
)

const dataplane = `
type: Dataplane
mesh: default
name: web-1
labels: {team: a}
networking:
  address: 192.0.2.1
  inbound:
  - port: 8080
    servicePort: 9090
    tags: {kuma.io/service: web, version: v1}
  outbound:
  - port: 10080
    tags: {kuma.io/service: api}
`

// A kind is the one of the table or it is another.
var sameKind = cmp.Comparer(func(a, b *mesh.Kind) bool { return a == b })

func TestDecode(t *testing.T) {
	want := mesh.Resource{
		Kind: mesh.DataplaneKind,
		Meta: mesh.Meta{Mesh: "default", Name: "web-1", Labels: map[string]string{"team": "a"}},
		Spec: &mesh.Dataplane{Networking: mesh.DataplaneNetworking{
			Address:  "192.0.2.1",
			Inbound:  []mesh.Inbound{{Port: 8080, ServicePort: 9090, Tags: mesh.Tags{"kuma.io/service": "web", "version": "v1"}}},
			Outbound: []mesh.Outbound{{Port: 10080, Tags: mesh.Tags{"kuma.io/service": "api"}}},
		}},
	}
	for name, doc := range map[string]string{
		"yaml":            dataplane,
		"yaml with start": "---\n" + dataplane,
		"json": `{"type":"Dataplane","mesh":"default","name":"web-1","labels":{"team":"a"},"networking":{"address":"192.0.2.1",
			"inbound":[{"port":8080,"servicePort":9090,"tags":{"kuma.io/service":"web","version":"v1"}}],
			"outbound":[{"port":10080,"tags":{"kuma.io/service":"api"}}]}}`,
		"flow yaml":             `{type: Dataplane, mesh: default, name: web-1, labels: {team: a}, networking: {address: 192.0.2.1, inbound: [{port: 8080, servicePort: 9090, tags: {kuma.io/service: web, version: v1}}], outbound: [{port: 10080, tags: {kuma.io/service: api}}]}}`,
		"original names":        strings.NewReplacer("servicePort", "service_port").Replace(dataplane),
		"numbers as text":       strings.NewReplacer("9090", `"9090"`, "10080", "10080.0").Replace(dataplane),
		"written by the server": dataplane + "creationTime: 0001-01-01T00:00:00Z\nmodificationTime: \"2026-11-23T11:02:16Z\"\nkri: kri_dp_default___web-1_\nstatus: {a: [1]}\nsnis: null\n",
		"nulls and empties":     dataplane + "  gateway: null\n  admin:\nprobes: null\n",
		"aliases":               strings.Replace(dataplane, "labels: {team: a}", "labels: {team: &a a}", 1),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := api.Decode([]byte(doc))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, sameKind); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	const tp = "type: TrafficPermission\nmesh: default\nname: a\n"
	for _, c := range []struct {
		name, doc string
		want      []string // what the violations say, in order
	}{
		{"unknown field", dataplane + "    prot: 1\n", []string{`networking.outbound[0].prot: unknown field; did you mean "port"?`}},
		{"unknown field on top", tp + "source: []\n", []string{`source: unknown field; did you mean "sources"?`}},
		{"far from any field", tp + "conf: {}\n", []string{`conf: unknown field; there are sources, destinations`}},
		{"spec around the fields", tp + "spec: {sources: []}\n", []string{`spec: unknown field; the fields of a TrafficPermission stand beside "type" and "name"`}},
		{"all at once", `
type: Dataplane
mesh: 1
name: [a]
labels: {a: true}
networking:
  address: 1.5
  inbound:
  - port: http
    servicePort: -1
    tags: [x]
    health: {ready: "true"}
  - 7
  - null
  outbound: {}
`, []string{
			"labels[\"a\"]: must be text, is true; put it in quotes",
			"mesh: must be text, is the number 1; put it in quotes",
			"name: must be text, is a list",
			"networking.address: must be text, is the number 1.5; put it in quotes",
			`networking.inbound[0].health.ready: must be true or false, is the text "true"`,
			`networking.inbound[0].port: must be a whole number, is the text "http"`,
			"networking.inbound[0].servicePort: -1 is out of range",
			"networking.inbound[0].tags: must be an object, is a list",
			"networking.inbound[1]: must be an object, is the number 7",
			"networking.inbound[2]: must not be empty",
			"networking.outbound: must be a list, is an object",
		}},
		{"huge numbers", `{"type":"Dataplane","networking":{"admin":{"port":4294967296},"inbound":[{"port":1e99},{"port":80.5},{"port":1e999999999}]}}`, []string{
			"networking.admin.port: 4294967296 is out of range",
			"networking.inbound[0].port: 1e99 is out of range",
			"networking.inbound[1].port: must be a whole number, is the number 80.5",
			"networking.inbound[2].port: ",
		}},
		{"field twice, in both spellings", "type: Dataplane\nnetworking: {inbound: [{servicePort: 1, service_port: 2}]}\n", []string{`networking.inbound[0].service_port: is the same field as "servicePort"; keep one`}},
		{"key twice in json", `{"type":"Mesh","name":"a","name":"b"}`, []string{"name: is given twice; keep one"}},
		{"key twice in yaml", "type: Mesh\nname: a\nname: b\n", []string{`: line 3: key "name" already set in map; keep one`}},
		{"secret that is no base64", "type: Secret\nmesh: default\nname: a\ndata: s3cr:t\n", []string{"data: is not base64; encode it with `base64 -w0`"}},
		{"no type", "name: a\n", []string{"type: must say what this is, as in"}},
		{"unknown type", "type: Nonsense\n", []string{`type: there is no type "Nonsense"; GET /_resources lists them`}},
		{"type with an error", "type: TraficPermision\n", []string{`type: there is no type "TraficPermision"; did you mean "TrafficPermission"?`}},
		{"type as people type it", "type: traffic-permission\n", []string{`type: there is no type "traffic-permission"; did you mean "TrafficPermission"?`}},
		{"no object", "just words\n", []string{`: must be an object with "type", "name" and more, is the text "just words"`}},
		{"nothing", "# only this\n", []string{`: must be an object with "type", "name" and more, is null`}},
		{"strange key", tp + "\"a\\nb\": 1\n", []string{`["a\nb"]: unknown field`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := api.Decode([]byte(c.doc))
			v, ok := errors.AsType[mesh.Violations](err)
			if !ok {
				t.Fatalf("error %v, want violations", err)
			}
			for i, want := range c.want {
				if len(v) != len(c.want) || !strings.HasPrefix(v[i].Field+": "+v[i].Reason, want) {
					t.Fatalf("violations %q\nwant them to begin %q", v, c.want)
				}
			}
		})
	}
}

func TestDecodeRefusesWhatIsNoDocument(t *testing.T) {
	for name, c := range map[string]struct{ doc, want string }{
		"json cut short":    {`{"type": "Mesh", "name": `, "line 1: "},
		"yaml":              {"type: Mesh\nname: [a\n", "line "},
		"tab":               {"type: Mesh\n\tname: a\n", "line 2: found a tab"},
		"two documents":     {"type: Mesh\n---\ntype: Mesh\n", `separate`},
		"deep json":         {strings.Repeat(`{"a":`, 65) + "1" + strings.Repeat("}", 65), "more than 64 deep"},
		"deep yaml":         {strings.Repeat(`{a: `, 65) + "1" + strings.Repeat("}", 65), "more than 64 deep"},
		"very deep":         {strings.Repeat("[", 1<<19), "cannot be read"},
		"undefined alias":   {"type: *x\n", "unknown anchor"},
		"key is a list":     {"[a, b]: c\n", "cannot be read"},
		"one key two forms": {"type: Mesh\nlabels: {1: a, \"1\": b}\n", `key "1" is given twice`},
		"not a number":      {"type: .nan\n", "no numbers here"},
		"no utf-8":          {"type: \xff\n", "no text in UTF-8"},
		"no utf-8 in json":  {"{\"type\":\"\xff\"}", "no text in UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := api.Decode([]byte(c.doc))
			if _, ok := errors.AsType[*api.SyntaxError](err); !ok || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want a syntax error with %q", err, c.want)
			}
			if !errors.Is(err, mesh.ErrInvalid) {
				t.Errorf("%v does not wrap mesh.ErrInvalid", err)
			}
		})
	}
	_, err := api.Decode(make([]byte, api.MaxDocument+1))
	if !errors.Is(err, api.ErrTooLarge) {
		t.Errorf("error %v, want ErrTooLarge", err)
	}
}

// Small documents that grow when their aliases are written out.
func TestDecodeBoundsAliases(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("a: &a [x,x,x,x,x,x,x,x,x]\n")
	for c := 'b'; c <= 'j'; c++ {
		fmt.Fprintf(&bomb, "%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c,", c-1), 9), ","))
	}
	long := "a: &a " + strings.Repeat("x", 500_000) + "\nb: [" + strings.Repeat("*a,", 150_000) + "]\n"
	wide := "a: &a {" + func() string {
		var b strings.Builder
		for i := range 50_000 {
			fmt.Fprintf(&b, "k%d: 1,", i)
		}
		return b.String()
	}() + "}\nb: [" + strings.Repeat("*a,", 100_000) + "]\n"
	for name, doc := range map[string]string{"billion laughs": bomb.String(), "long text": long, "wide map": wide, "merge": wide + "c: {<<: *a, x: {<<: *a}}\n"} {
		t.Run(name, func(t *testing.T) {
			done := make(chan error, 1)
			go func() {
				_, err := api.Decode([]byte(doc))
				done <- err
			}()
			select {
			case err := <-done:
				if _, ok := errors.AsType[*api.SyntaxError](err); !ok {
					t.Errorf("error %v, want a syntax error", err)
				}
			case <-time.After(time.Minute):
				t.Fatal("takes too long")
			}
		})
	}
}

func TestDecodeToldFaultsAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("type: Mesh\nname: a\n")
	for i := range 30_000 {
		fmt.Fprintf(&b, "unknown%d: 1\n", i)
	}
	_, err := api.Decode([]byte(b.String()))
	if v, _ := errors.AsType[mesh.Violations](err); len(v) != 100 {
		t.Errorf("%d violations, want 100", len(v))
	}
}

func TestDecodeAs(t *testing.T) {
	r, err := api.DecodeAs(mesh.MeshKind, []byte(`{"name":"a"}`))
	if err != nil || r.Kind != mesh.MeshKind || r.Meta.Name != "a" {
		t.Errorf("without type: %+v, %v", r, err)
	}
	_, err = api.DecodeAs(mesh.MeshKind, []byte(`{"type":"Secret","name":"a","oops":1}`))
	if err == nil || !strings.HasPrefix(err.Error(), `type: must be "Mesh", is "Secret"; oops: unknown field`) {
		t.Errorf("another type: %v", err)
	}
	// Older clients write a Mesh so.
	r, err = api.DecodeAs(mesh.MeshKind, []byte(`{"type":"Mesh","mesh":"a","name":"a"}`))
	if err != nil || r.Meta.Mesh != "" {
		t.Errorf("mesh of a mesh: %+v, %v", r, err)
	}
}

func TestDecodeAll(t *testing.T) {
	rs, err := api.DecodeAll([]byte("# a comment\n---\ntype: Mesh\nname: a\n---\n# nothing\n--- # next\ntype: Mesh\nname: b\n...\n"))
	if err != nil || len(rs) != 2 || rs[0].Meta.Name != "a" || rs[1].Meta.Name != "b" {
		t.Fatalf("%+v, %v", rs, err)
	}
	rs, err = api.DecodeAll(nil)
	if err != nil || len(rs) != 0 {
		t.Errorf("nothing: %v, %v", rs, err)
	}
	rs, err = api.DecodeAll([]byte(`{"type":"Mesh","name":"a"}`))
	if err != nil || len(rs) != 1 {
		t.Errorf("json: %v, %v", rs, err)
	}

	rs, err = api.DecodeAll([]byte("type: Mesh\nname: 1\n---\ntype: Mesh\nname: b\n---\ntype: Mesh\nnames: c\n---\ntype: Mesh\nname: [\n"))
	want := `document 1 (line 1): name: must be text, is the number 1; put it in quotes
document 3 (line 6): names: unknown field`
	if err == nil || !strings.HasPrefix(err.Error(), want) || rs != nil {
		t.Fatalf("%v, error:\n%v\nwant:\n%s", rs, err, want)
	}
	if want := "document 4 (line 9): cannot be read: line 1"; !strings.Contains(err.Error(), want) {
		t.Errorf("error:\n%v\nwant %s", err, want)
	}
	if !errors.Is(err, mesh.ErrInvalid) {
		t.Errorf("%v does not wrap mesh.ErrInvalid", err)
	}
	if d, ok := errors.AsType[*api.DocumentError](err); !ok || d.Index != 1 {
		t.Errorf("no DocumentError for the first document: %v", d)
	}
}

// sameAgain wants that what Encode and EncodeYAML write is read as r.
func sameAgain(t *testing.T, r mesh.Resource) {
	t.Helper()
	j, err := api.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(j) {
		t.Fatalf("no JSON: %q", j)
	}
	y, err := api.EncodeYAML(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range [][]byte{j, y} {
		again, err := api.Decode(doc)
		if err != nil {
			t.Fatalf("%v in what was encoded:\n%s", err, doc)
		}
		j2, err := api.Encode(again)
		if err != nil {
			t.Fatal(err)
		}
		if string(j) != string(j2) {
			t.Fatalf("encoded %s\nthen    %s\nby way of\n%s", j, j2, doc)
		}
	}
}
