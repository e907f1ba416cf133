package reference

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// pages makes the page of each kind and the one that lists them, by file name.
func pages(c comments, examples, refused string) (map[string]string, error) {
	faults, err := readFaults(refused)
	if err != nil {
		return nil, err
	}
	all := map[string]string{"README.md": index(c)}
	for _, k := range mesh.Kinds {
		example := ""
		if !k.ReadOnly {
			data, err := os.ReadFile(filepath.Join(examples, k.Singular+".yaml"))
			if err != nil {
				return nil, err
			}
			example = string(data)
		}
		all[k.Singular+".md"] = page(c, k, example, faults[k.Name])
	}
	return all, nil
}

// kindDoc is the comment of a kind's type.
func kindDoc(c comments, k *mesh.Kind) string { return c.of(reflect.TypeOf(k.New()).Elem()) }

func index(c comments) string {
	var b strings.Builder
	b.WriteString("# Resources\n\nEverything that can be written, in the order in which it must be applied, and what the control plane tells. These pages are\nmade from the code: `make generate`.\n\n| Kind | What for | |\n|---|---|---|\n")
	for _, k := range mesh.Kinds {
		state := ""
		switch {
		case k.ReadOnly:
			state = "to be read only"
		case k.Pending != "":
			state = "no effect yet"
		}
		first, _, _ := strings.Cut(kindDoc(c, k), ". ")
		fmt.Fprintf(&b, "| [%s](%s.md) | %s | %s |\n", k.Name, k.Singular, cell(strings.TrimSuffix(first, ".")+"."), state)
	}
	return b.String()
}

func page(c comments, k *mesh.Kind, example string, faults []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s\n", k.Name, kindDoc(c, k))
	if k.Pending != "" {
		fmt.Fprintf(&b, "\n**No effect yet**: it is checked and kept; %s.\n", k.Pending)
	}
	if k.ReadOnly {
		b.WriteString("\nThe control plane tells it; nobody writes one.\n")
	}
	path, scope := "/"+k.Path, "the whole control plane"
	if k.Scope == mesh.InMesh {
		path, scope = "/meshes/{mesh}/"+k.Path, "a mesh"
	}
	fmt.Fprintf(&b, "\n- belongs to %s; REST: `%s/{name}`\n", scope, path)
	fmt.Fprintf(&b, "- `weftctl get %s NAME`", k.Singular)
	if !k.ReadOnly {
		fmt.Fprintf(&b, ", `weftctl delete %s NAME`, `weftctl apply -f FILE`", k.Singular)
	}
	b.WriteString("\n")
	if k.Admin {
		b.WriteString("- administrators alone read and write it\n")
	}
	if k.Short != "" {
		fmt.Fprintf(&b, "- short name in a KRI: `%s`\n", k.Short)
	}
	if example != "" {
		fmt.Fprintf(&b, "\n## Example\n\n```yaml\n%s```\n", example)
	}
	fields := c.fieldsOf("", reflect.TypeOf(k.New()).Elem(), map[reflect.Type]string{})
	if len(fields) > 0 {
		b.WriteString("\n## Fields\n\n| Field | Type | Meaning |\n|---|---|---|\n")
	}
	for _, f := range fields {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.path, f.typ, cell(f.meaning))
	}
	if len(faults) > 0 {
		b.WriteString("\n## What is refused\n\nExamples, in the words of the control plane. Unknown fields are refused, too.\n\n")
	}
	for _, f := range faults {
		at, why, _ := strings.Cut(f, ": ")
		fmt.Fprintf(&b, "- `%s`: %s\n", at, strings.ReplaceAll(why, "<", "&lt;"))
	}
	return b.String()
}

func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "{{", `\{\{`).Replace(s)
}
