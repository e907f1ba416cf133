package mesh

import (
	"strings"
	"text/template"
)

// trySample executes a template of names with values that stand for real ones,
// and the function label, and returns what comes out.
func trySample(path, text string, values map[string]any) (made string, v Violations) {
	label := func(key string) (string, error) { return "label", nil }
	t, err := template.New("").Option("missingkey=error").Funcs(template.FuncMap{"label": label}).Parse(text)
	if err != nil {
		v.Add(path, "is no template: %s", strings.TrimPrefix(err.Error(), "template: :"))
		return "", v
	}
	if t.Tree == nil {
		return "", nil
	}
	if err := plainTemplate(t.Root); err != nil {
		v.Add(path, "%s", err)
		return "", v
	}
	var b strings.Builder
	if err := t.Execute(&b, values); err != nil {
		v.Add(path, "cannot be filled in: there are %s and label \"key\"", strings.Join(sortedKeys(values), ", "))
		return "", v
	}
	return b.String(), nil
}
