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
