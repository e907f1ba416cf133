package agent

import (
	"errors"
	"os"
	"testing"
)

func TestSecondAgentIsKeptOut(t *testing.T) {
	dir := t.TempDir()
	first, err := takeLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = takeLock(dir)
	running, ok := errors.AsType[errRunning](err)
	if !ok || running.pid != os.Getpid() {
		t.Errorf("error %v, want one that names this process", err)
	}
	first.release()
	again, err := takeLock(dir)
	if err != nil {
		t.Fatalf("the lock was not given back: %v", err)
	}
	again.release()
}

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
