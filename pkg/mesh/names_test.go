package mesh_test

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// badNames lead out of a folder, a line or a sentence, or look like others.
var badNames = []string{
	"", ".", "..", "../../etc/passwd", "%2e%2e", "a/b", `a\b`, "a\x00b", strings.Repeat("a", mesh.MaxName+1),
	"a\u202eb", "А", "a\u0301", "UPPER", "a b", " a", "a\r\nX: y", "a\n", "!!python/name", "$(id)", "`id`", "a;b", "a&b", "a|b",
	"{{a}}", "%s", "-a", "a-", ".a", "a.", "a..b", "*", "<a>", `a"b`, "a'b", "a,b", "a=b", "a@b", "a:b", "~", "a\xff",
}

// F26: none of them is a name, a mesh, or part of a label or of a tag.
func TestBadNames(t *testing.T) {
	refused := 0
	for _, name := range badNames {
		want := func(what string, v mesh.Violations) {
			t.Helper()
			if len(v) == 0 || v[0].Field == "" {
				t.Errorf("%q is taken as %s: %v", name, what, v)
			}
			if strings.ContainsAny(v.Error(), "\r\n\x00") {
				t.Errorf("%q as %s: the refusal is more than a line: %q", name, what, v.Error())
			}
			refused++
		}
		for _, k := range mesh.Kinds {
			want("the name of a "+k.Name, mesh.ValidateName(k, name))
		}
		want("a mesh", mesh.ValidateMeshName(name))
		label := name == "a/b" || name == "UPPER" || name == "a..b" // as Kubernetes has them
		if !label {
			want("a label", mesh.ValidateLabels(map[string]string{name: "a"}))
		}
		if name != "" && (!label || name == "a/b") {
			want("the value of a label", mesh.ValidateLabels(map[string]string{"a": name}))
		}
		if name == "" || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:/-*") != "" {
			s := []mesh.Selector{{Match: mesh.Tags{mesh.ServiceTag: name}}}
			want("the value of a tag", (&mesh.TrafficPermission{Sources: s, Destinations: s}).Validate())
			key := []mesh.Selector{{Match: mesh.Tags{name: "a"}}}
			want("a tag", (&mesh.TrafficPermission{Sources: key, Destinations: key}).Validate())
		}
	}
	t.Logf("F26: %d names, %d refusals", len(badNames), refused)
}
