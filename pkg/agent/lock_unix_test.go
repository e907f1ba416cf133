//go:build unix

package agent

import (
	"os"
	"testing"
)

func TestLockFollowsNoLink(t *testing.T) {
	dir := t.TempDir()
	victim := t.TempDir() + "/victim"
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, dir+"/lock"); err != nil {
		t.Fatal(err)
	}
	if l, err := takeLock(dir); err == nil {
		l.release()
		t.Error("a link was followed")
	}
	if text, _ := os.ReadFile(victim); string(text) != "precious" {
		t.Errorf("the file behind the link is now %q", text)
	}
}
