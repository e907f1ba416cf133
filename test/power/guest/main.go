//go:build linux

// Package main is the init of a machine whose power goes: it writes into a store
// and into files as an agent does, and says on the console what was acknowledged,
// and at each start what is there.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/sqlite"
	"github.com/weft-mesh/weft/pkg/keyfile"
	"github.com/weft-mesh/weft/pkg/mesh"
)

const (
	writers = 4
	disk    = "/dev/vda"
	data    = "/data"
)

var console struct {
	sync.Mutex
	*os.File
}

func say(format string, args ...any) {
	console.Lock()
	defer console.Unlock()
	fmt.Fprintf(console.File, format+"\n", args...)
}

func main() {
	err := errors.Join(os.MkdirAll("/dev", 0o755), os.MkdirAll(data, 0o755), os.MkdirAll("/tmp", 0o755))
	if err == nil {
		err = unix.Mount("dev", "/dev", "devtmpfs", 0, "")
	}
	if err == nil {
		console.File, err = os.OpenFile("/dev/console", os.O_RDWR, 0)
	}
	if err == nil {
		err = begin()
	}
	if err == nil {
		err = work(context.Background())
	}
	say("fault: %v", err)
	select {} // what ends a machine without an init is a panic
}

// begin finds the disk. Modules are named in the order in which they need each
// other.
func begin() error {
	modules, err := filepath.Glob("/modules/*.ko")
	if err != nil {
		return err
	}
	slices.Sort(modules)
	for _, m := range modules {
		f, err := os.Open(m)
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		if errors.Is(err, unix.EEXIST) {
			err = nil
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("%s: %w", m, err)
		}
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); ; <-tick.C {
		err := unix.Mount(disk, data, "ext4", 0, "")
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

func work(ctx context.Context) error {
	folder, file := filepath.Join(data, "cp"), filepath.Join(data, "agent", "file")
	if err := errors.Join(keyfile.Dir(folder), keyfile.Dir(filepath.Dir(file))); err != nil {
		return err
	}
	s, err := sqlite.Open(ctx, folder, slog.New(slog.NewTextHandler(console.File, nil)))
	if err != nil {
		return err
	}
	copied := filepath.Join("/tmp", "copy.db")
	if err := sqlite.Backup(ctx, folder, copied); err != nil { // it is read whole
		return fmt.Errorf("the store is not whole: %w", err)
	}
	if err := os.Remove(copied); err != nil {
		return err
	}
	at := map[string]mesh.Resource{}
	for n := range writers {
		name := fmt.Sprint("w", n)
		r, err := s.Get(ctx, key(name))
		if errors.Is(err, store.ErrNotFound) {
			r, err = mesh.Resource{Kind: mesh.SecretKind, Meta: mesh.Meta{Mesh: "m", Name: name}, Spec: &mesh.Secret{Data: []byte("0")}}, nil
		}
		if err != nil {
			return err
		}
		at[name] = r
		say("has %s %s", name, r.Spec.(*mesh.Secret).Data)
	}
	text, err := keyfile.Read(file)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = []byte("0"), nil
	}
	if err != nil {
		return err
	}
	count, err := strconv.Atoi(string(text))
	if err != nil {
		return fmt.Errorf("%s is not whole: %q", file, text)
	}
	say("has file %d", count)
	say("ready")
	g, ctx := errgroup.WithContext(ctx)
	for name, r := range at {
		g.Go(func() error { return write(ctx, s, name, r) })
	}
	g.Go(func() error {
		for n := count + 1; ; n++ {
			if err := keyfile.Write(file, []byte(strconv.Itoa(n))); err != nil {
				return err
			}
			say("ack file %d", n)
		}
	})
	return g.Wait()
}

func key(name string) mesh.Key {
	return mesh.Key{Kind: mesh.SecretKind.Name, Mesh: "m", Name: name}
}

func write(ctx context.Context, s store.Store, name string, r mesh.Resource) error {
	for {
		n, err := strconv.Atoi(string(r.Spec.(*mesh.Secret).Data))
		if err != nil {
			return err
		}
		r.Spec = &mesh.Secret{Data: []byte(strconv.Itoa(n + 1))}
		if r, err = s.Put(ctx, r); err != nil {
			return err
		}
		say("ack %s %d", name, n+1)
	}
}
