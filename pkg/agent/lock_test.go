package agent

import (
	"errors"
	"os"
	"path/filepath"
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
	again.beforeRemoval()
	if err := removeFiles(dir, filepath.Join(dir, "lock")); err != nil {
		t.Error(err)
	}
	again.release()
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
}
