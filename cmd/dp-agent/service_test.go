//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/packaging/systemd"
)

func TestRunLevelsAreLeftClean(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"S50weft-agent", "K02weft-agent", "S50weft-agent-other", "S50sshd"} {
		if err := os.Symlink("/nowhere", filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := removeLevels(dir); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 2 {
		t.Errorf("left %v, %v", left, err)
	}
}

// What is installed without a package is the package's unit, for where the
// program and its configuration are.
func TestUnit(t *testing.T) {
	if got := unit("/usr/bin/weft-agent", []string{"run"}); got != strings.Replace(systemd.Agent, "/usr/bin/weft-agent run", `"/usr/bin/weft-agent" "run"`, 1) {
		t.Errorf("for the package's own places it is\n%s", got)
	}
	got := unit("/opt/we ft/agent", []string{"run", "--config", "/etc/100%.yaml"})
	for _, want := range []string{"ExecStart=\"/opt/we ft/agent\" \"run\" \"--config\" \"/etc/100%%.yaml\"\n", "ConditionPathExists=/etc/100%.yaml\n", "NoNewPrivileges=yes\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("it lacks %q:\n%s", want, got)
		}
	}
}
