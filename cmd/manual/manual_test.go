package manual

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestCommand(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	root := &cobra.Command{Use: "loom", Short: "Weaves"}
	root.AddCommand(&cobra.Command{Use: "weave", Short: "Weave once", Run: func(*cobra.Command, []string) {}}, Command("8"))
	dir := t.TempDir()
	root.SetArgs([]string{"manual", dir})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "loom-weave.8"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Weave once", "Nov 2023"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page does not say %q:\n%s", want, page)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "loom-manual.8")); err == nil {
		t.Error("a hidden command has a page")
	}
}
