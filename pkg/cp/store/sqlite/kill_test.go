package sqlite

import (
	"bufio"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// writerDir, when set, makes TestWriterProcess the process that gets killed.
const writerDir = "WEFT_TEST_WRITER_DIR"

// TestWriterProcess writes until it is killed, and prints each write once it
// is acknowledged: "<name> <version> <content>", "<name> deleted".
func TestWriterProcess(t *testing.T) {
	dir := os.Getenv(writerDir)
	if dir == "" {
		return // it is started by TestKillLosesNothing
	}
	s, err := Open(t.Context(), dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	say := func(format string, args ...any) {
		if _, err := fmt.Fprintf(os.Stdout, format+"\n", args...); err != nil { // one write, not buffered
			panic(err)
		}
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				r := secret(fmt.Sprintf("w%d-%d", w, i%5), "")
				if old, err := s.Get(t.Context(), r.Key()); err == nil {
					r = old
				}
				content := fmt.Sprintf("%d.%d", os.Getpid(), i)
				r.Spec = &mesh.Secret{Data: []byte(content)}
				stored, err := s.Put(t.Context(), r)
				if err != nil {
					say("error %v", err)
					return
				}
				say("%s %d %s", r.Meta.Name, stored.Meta.Version, content)
				if i%7 == 0 {
					if err := s.Delete(t.Context(), r.Key(), 0); err != nil {
						say("error %v", err)
						return
					}
					say("%s deleted", r.Meta.Name)
				}
			}
		})
	}
	wg.Wait()
}

// TestKillLosesNothing kills a writing process again and again. Afterwards
// everything that it was told is written is there, or something that the same
// writer wrote after it and was not told any more.
func TestKillLosesNothing(t *testing.T) {
	dir := t.TempDir()
	acked := map[string]string{} // by name: "<version> <content>" or "deleted"
	var newest mesh.Version
	for round := range 5 {
		lines := killedWriter(t, dir, 150)
		for _, line := range lines {
			name, what, ok := strings.Cut(line, " ")
			if !ok || name == "error" {
				t.Fatalf("the writer said %q", line)
			}
			acked[name] = what
		}
		s, err := Open(t.Context(), dir, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatalf("round %d: the store does not open again: %v", round, err)
		}
		page, err := s.List(t.Context(), store.Query{})
		if err != nil {
			t.Fatal(err)
		}
		if page.At <= newest {
			t.Errorf("round %d: version %d, was %d before", round, page.At, newest)
		}
		newest = page.At
		compare(t, round, acked, page)
		wantWholeFeed(t, s, page)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// killedWriter returns all that a writer acknowledged until it was killed,
// which is soon after n lines.
func killedWriter(t *testing.T, dir string, n int) (lines []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestWriterProcess$", "-test.v=false")
	cmd.Env = append(os.Environ(), writerDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	for in := bufio.NewScanner(out); in.Scan(); { // to the end: what is in the pipe was acknowledged
		if lines = append(lines, in.Text()); len(lines) == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || len(lines) < n {
		t.Fatalf("the writer ended by itself after %d lines: %v\n%s", len(lines), err, strings.Join(lines, "\n"))
	}
	return lines
}

// compare allows each writer one write beyond the last one that it was told
// of, and takes that for acknowledged from now on.
func compare(t *testing.T, round int, acked map[string]string, page store.Page) {
	t.Helper()
	stored := map[string]mesh.Resource{}
	for _, r := range page.Items {
		stored[r.Meta.Name] = r
	}
	beyond := map[string]int{}
	names := map[string]bool{}
	for name := range acked {
		names[name] = true
	}
	for name := range stored {
		names[name] = true
	}
	for name := range names {
		is := "deleted"
		if r, ok := stored[name]; ok {
			is = fmt.Sprintf("%d %s", r.Meta.Version, r.Spec.(*mesh.Secret).Data)
		}
		was, known := acked[name]
		if !known {
			was = "deleted"
		}
		if is == was {
			continue
		}
		writer, _, _ := strings.Cut(name, "-")
		beyond[writer]++
		if was != "deleted" && is != "deleted" {
			if version(t, is) <= version(t, was) {
				t.Errorf("round %d: %s is %q, acknowledged was %q", round, name, is, was)
			}
		}
		acked[name] = is
	}
	for writer, n := range beyond {
		if n > 1 {
			t.Errorf("round %d: %d resources of %s differ from what it was told, want at most the one under way", round, n, writer)
		}
	}
}

func version(t *testing.T, what string) int {
	t.Helper()
	text, _, _ := strings.Cut(what, " ")
	v, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// wantWholeFeed makes sure that the change feed has every version once and
// adds up to the list.
func wantWholeFeed(t *testing.T, s *Store, page store.Page) {
	t.Helper()
	ch, err := s.Watch(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	left := map[mesh.Key]mesh.Version{}
	for want := mesh.Version(1); want <= page.At; want++ {
		c := <-ch
		if c.Version != want {
			t.Fatalf("the feed has version %d, want %d", c.Version, want)
		}
		delete(left, c.Key)
		if c.Now != nil {
			left[c.Key] = c.Version
		}
	}
	for _, r := range page.Items {
		if left[r.Key()] != r.Meta.Version {
			t.Errorf("the feed ends with %s at %d, the list has it at %d", r.Key(), left[r.Key()], r.Meta.Version)
		}
		delete(left, r.Key())
	}
	if len(left) != 0 {
		t.Errorf("the feed has what the list lacks: %v", left)
	}
}
