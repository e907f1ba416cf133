package storetest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// An Open opens the store that stands for a folder, as Run does.
type Open func(t *testing.T, dir string) store.Store

// Of a history: few keys, so that clients meet.
const (
	clients    = 6
	keys       = 4
	childDir   = "WEFT_TEST_HISTORY_DIR"
	childSeed  = "WEFT_TEST_HISTORY_SEED"
	childSince = "WEFT_TEST_HISTORY_SINCE"
)

// An event is what a client does, before and after, or what a watcher was told.
type event struct {
	Client  int    `json:"c"`
	Op      string `json:"o"` // put, get, delete, saw
	Key     int    `json:"k"`
	At      int64  `json:"a,omitempty"` // version that must be stored
	Content string `json:"x,omitempty"` // of a put; of what a get found
	Return  bool   `json:"r,omitempty"`
	Outcome string `json:"y,omitempty"` // ok, conflict, none, unknown
	Version int64  `json:"v,omitempty"`
}

// History has clients put, get and delete a few resources in processes of
// their own that are killed in the middle, rounds times, each after some
// hundred operations. What they were told must be a history of a store that
// does one thing after the other; whoever watches must have been told
// everything once and in order. The test that calls it does nothing else: it
// is what runs in those processes too.
func History(t *testing.T, open Open, rounds int) {
	if dir := os.Getenv(childDir); dir != "" {
		child(t, open, dir)
		return
	}
	seed := time.Now().UnixNano()
	if text := os.Getenv(childSeed); text != "" {
		_, _ = fmt.Sscan(text, &seed)
	}
	dir := t.TempDir()
	h := newHistory()
	ops := rand.New(rand.NewPCG(uint64(seed), 0)) //nolint:gosec // a test's luck
	for round := range rounds {
		h.killed(t, dir, seed+int64(round), 200+ops.IntN(200))
		h.barrier(t, open(t, dir))
	}
	h.check(t, open(t, dir), seed, rounds)
}

// HistoryInside is History in one process, for a store that does not outlive
// it.
func HistoryInside(t *testing.T, open Open) {
	seed := time.Now().UnixNano()
	s := open(t, t.TempDir())
	h := newHistory()
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for in := bufio.NewScanner(r); in.Scan(); {
			h.add(t, in.Text())
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	exercise(ctx, s, w, seed, 0, 150)
	cancel()
	_ = w.Close()
	<-done
	h.check(t, s, seed, 0)
}

// child exercises the store until it is killed.
func child(t *testing.T, open Open, dir string) {
	var seed, since int64
	_, _ = fmt.Sscan(os.Getenv(childSeed), &seed)
	_, _ = fmt.Sscan(os.Getenv(childSince), &since)
	exercise(t.Context(), open(t, dir), os.Stdout, seed, mesh.Version(since), 1<<30)
}

// exercise lets clients loose on a store, each for so many operations, and a
// watcher from a version on.
func exercise(ctx context.Context, s store.Store, out io.Writer, seed int64, since mesh.Version, each int) {
	var mu sync.Mutex
	say := func(e event) {
		line, err := json.Marshal(e)
		if err != nil {
			panic(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if _, err := out.Write(append(line, '\n')); err != nil { // one write, not buffered
			panic(err)
		}
	}
	feed, err := s.Watch(ctx, since)
	if err != nil {
		panic(err)
	}
	saw := make(chan mesh.Version, 1)
	go func() {
		for c := range feed {
			say(event{Op: "saw", Version: int64(c.Version)})
			select {
			case <-saw:
			default:
			}
			saw <- c.Version
		}
	}()
	var wg sync.WaitGroup
	for i := range clients {
		luck := rand.New(rand.NewPCG(uint64(seed), uint64(i))) //nolint:gosec // a test's luck
		wg.Go(func() { client(ctx, s, i, luck, each, say) })
	}
	wg.Wait()
	page, err := s.List(ctx, store.Query{})
	for v := since; err == nil && v < page.At; {
		v = <-saw
	}
}

// client works as writers do: it reads, and writes over what it read.
func client(ctx context.Context, s store.Store, me int, luck *rand.Rand, n int, say func(event)) {
	var known [keys]mesh.Version
	var look [keys]bool // it was refused: it reads next
	for i := range n {
		k := luck.IntN(keys)
		r := secret(fmt.Sprintf("key-%d", k), nil)
		e := event{Client: me, Key: k, At: int64(known[k])}
		switch p := luck.IntN(10); {
		case p < 5 && !look[k]:
			e.Op, e.Content = "put", fmt.Sprintf("%d.%d.%d", os.Getpid(), me, i)
			say(e)
			r.Meta.Version, r.Spec = known[k], &mesh.Secret{Data: []byte(e.Content)}
			stored, err := s.Put(ctx, r)
			e.Outcome, e.Version = outcome(err), int64(stored.Meta.Version)
			if err == nil {
				known[k] = stored.Meta.Version
			}
		case p < 7 && !look[k] && known[k] != 0:
			e.Op = "delete"
			say(e)
			err := s.Delete(ctx, r.Key(), known[k])
			if e.Outcome = outcome(err); err == nil {
				known[k] = 0
			}
		default:
			e.Op, e.At = "get", 0
			say(e)
			found, err := s.Get(ctx, r.Key())
			if e.Outcome, known[k] = outcome(err), found.Meta.Version; err == nil {
				e.Version, e.Content = int64(found.Meta.Version), string(found.Spec.(*mesh.Secret).Data)
			}
		}
		look[k] = e.Op != "get" && e.Outcome != "ok"
		e.Return = true
		say(e)
	}
}

func outcome(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, store.ErrConflict):
		return "conflict"
	case errors.Is(err, store.ErrNotFound):
		return "none"
	}
	return "unknown"
}

// killed runs a process until it has told of n things, and kills it.
func (h *history) killed(t *testing.T, dir string, seed int64, n int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.v=false")
	cmd.Env = append(os.Environ(), childDir+"="+dir, fmt.Sprintf("%s=%d", childSeed, seed), fmt.Sprintf("%s=%d", childSince, h.seen))
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	var last []string
	for in := bufio.NewScanner(out); in.Scan(); { // to the end: what is in the pipe was told
		last = append(last[max(0, len(last)-20):], in.Text())
		h.add(t, in.Text())
		if told++; told == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || told < n {
		t.Fatalf("the process ended by itself after %d lines: %v\n%s", told, err, strings.Join(last, "\n"))
	}
}
