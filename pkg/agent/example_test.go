package agent

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/weft-mesh/weft/pkg/settings"
)

// The example has every setting with its default, and its list of workloads is
// one that a host can have.
func TestExample(t *testing.T) {
	text, err := Example()
	if err != nil {
		t.Fatal(err)
	}
	var defaults Config
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	defaults.Bind(flags)
	want, err := settings.YAML(flags)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := loaded(t, string(text)) // that nobody has joined is no fault of the example
	got, err := settings.YAML(c.flags, c.Lists(c.flags)...)
	if err != nil || string(got) != string(want) {
		t.Errorf("read again, the example is\n%s\nwant\n%s (%v)", got, want, err)
	}
	flags.VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(string(text), "\n"+settings.Key(f.Name)+":") {
			t.Errorf("the example does not have %s", settings.Key(f.Name))
		}
		if f.Usage == "" {
			t.Errorf("nothing says what %s is for", f.Name)
		}
	})
	for line := range strings.Lines(string(text)) {
		if len(line) > 100 && strings.HasPrefix(line, "#") {
			t.Errorf("too long a line: %s", line)
		}
	}
	_, list, _ := strings.Cut(string(text), "# workloads:\n")
	list = "workloads:\n" + strings.ReplaceAll(list, "# ", "")
	list = strings.Replace(list, "user:postgres", "user:1002", 1)
	if _, err := loaded(t, "controlPlane: ['192.0.2.1:5678']\nname: web-1\nmesh: default\nservice: web\nport: 8080\nonly: ['user:1001']\n"+list); err != nil {
		t.Errorf("the example of a workload: %v", err)
	}
}
