//go:build linux

package cgroup

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testnet"
)

// folder is a cgroup of the test's own, relative to the tree's root.
func folder(t *testing.T) (root, name string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making cgroups takes root: run the tests as root")
	}
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	name = fmt.Sprintf("weft-test-%d", os.Getpid())
	makeFolder(t, filepath.Join(root, name))
	t.Cleanup(func() { removeFolder(t, filepath.Join(root, name)) })
	return root, name
}

func makeFolder(t *testing.T, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

func removeFolder(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// A folder is found by the id that it has now, and changes are told, also of
// folders whose parents come only later.
func TestWatch(t *testing.T) {
	root, name := folder(t)
	unit, deep := name+"/api.service", name+"/late.slice/late.service"
	changes := make(chan struct{}, 16)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := Watch(ctx, func(map[string]uint64, bool) { changes <- struct{}{} }, unit, deep); err != nil {
		t.Fatal(err)
	}
	find := func() map[string]uint64 {
		t.Helper()
		ids, err := IDs(root, []string{unit, deep})
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	seen := find()
	if len(seen) != 0 {
		t.Errorf("found %v before there was anything", seen)
	}
	for _, step := range []struct {
		do   func(*testing.T, string)
		path string
		told bool
	}{
		{makeFolder, unit, true},
		{makeFolder, name + "/other.service", false},
		{removeFolder, name + "/other.service", false},
		{makeFolder, name + "/late.slice", false},
		{makeFolder, deep, true},
		{removeFolder, unit, true},
		{makeFolder, unit, true}, // with another id
		{removeFolder, deep, true},
		{removeFolder, name + "/late.slice", false},
		{makeFolder, name + "/late.slice", false},
		{makeFolder, deep, true},
		{removeFolder, deep, true},
		{removeFolder, name + "/late.slice", false},
		{removeFolder, unit, true},
	} {
		step.do(t, filepath.Join(root, step.path))
		now := find()
		if maps.Equal(now, seen) == step.told {
			t.Errorf("%s: found %v, before %v", step.path, now, seen)
		}
		seen = now
		if !step.told {
			continue
		}
		select {
		case <-changes:
		case <-time.After(testnet.Patience):
			t.Fatalf("no sign of the change to %s", step.path)
		}
	}
	if n := len(changes); n > 0 {
		t.Errorf("%d signs more than changes", n)
	}
}
