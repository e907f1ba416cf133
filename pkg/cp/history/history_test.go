package history_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/history"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

var (
	web   = proxy.ID{Mesh: "default", Name: "web.1"}
	start = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
)

func minute(n int) time.Time { return start.Add(time.Duration(n) * time.Minute) }

func stream(n int, ended bool) mesh.Subscription {
	s := mesh.Subscription{ID: fmt.Sprint("s", n), ControlPlaneInstanceID: "one", ConnectTime: minute(n)}
	if ended {
		s.DisconnectTime, s.Status.Total.Sent = minute(n+1), uint64(n)
	}
	return s
}

func told(r history.Record) string {
	var parts []string
	for _, s := range r.Past {
		end := "open"
		if !s.DisconnectTime.IsZero() {
			end = s.DisconnectTime.Sub(start).String()
		}
		parts = append(parts, s.ID+" "+end)
	}
	if m := r.MTLS; m != nil {
		parts = append(parts, fmt.Sprintf("%s x%d", m.IssuedBackend, m.Regenerations))
	}
	return strings.Join(parts, ", ")
}

func here(instance string) bool { return instance == "one" }
func nobody(string) bool        { return false }

func open(t *testing.T, path string) *history.Keeper {
	t.Helper()
	k := history.New(true)
	if err := k.Open(path, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

func want(t *testing.T, what string, got history.Record, text string) {
	t.Helper()
	if s := told(got); s != text {
		t.Errorf("%s: %q, want %q", what, s, text)
	}
}

func TestRemembers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "insights.jsonl")
	k := open(t, path)
	want(t, "nothing yet", k.Of(web, start, here), "")
	k.Began(web, stream(1, false))
	want(t, "an open stream is told of by who holds it", k.Of(web, start, here), "")
	k.Ended(web, stream(1, true))
	k.Began(web, stream(3, false))
	k.Ended(web, stream(3, true))
	k.Certified(web, mesh.DataplaneMTLS{Regenerated: minute(2), IssuedBackend: "ca-1"}, start)
	k.Certified(web, mesh.DataplaneMTLS{Regenerated: minute(3), IssuedBackend: "ca-2"}, start)
	k.Began(web, stream(5, false))
	want(t, "ends and certificates", k.Of(web, start, here), "s3 4m0s, ca-2 x2")
	want(t, "where its control plane is gone, the stream is over", k.Of(web, start, nobody), "s3 4m0s, s5 5m0s, ca-2 x2")
	want(t, "of a later dataplane of this name", k.Of(web, minute(10), here), "")
	next := history.New(false)
	next.Certified(web, mesh.DataplaneMTLS{Regenerated: minute(2), IssuedBackend: "ca-1"}, start)
	next.Certified(web, mesh.DataplaneMTLS{Regenerated: minute(12), IssuedBackend: "ca-1"}, minute(11))
	want(t, "of one that has a certificate", next.Of(web, minute(11), here), "ca-1 x1")

	other := history.New(true)
	other.Ended(web, stream(7, true))
	other.Certified(web, mesh.DataplaneMTLS{Regenerated: minute(6), IssuedBackend: "ca-3"}, start)
	for id, r := range other.News(10) {
		k.Merge(id, r)
		k.Merge(id, r) // again, as notes overlap
	}
	want(t, "with what another replica knows", k.Of(web, start, nobody), "s5 5m0s, s7 8m0s, ca-3 x3")
	other.Certified(web, mesh.DataplaneMTLS{Regenerated: minute(8), IssuedBackend: "ca-3"}, minute(7))
	for id, r := range other.News(10) {
		k.Merge(id, r)
	}
	want(t, "of a dataplane that was made anew", k.Of(web, minute(7), nobody), "s7 8m0s, ca-3 x1")
	k.Certified(web, mesh.DataplaneMTLS{Regenerated: minute(9), IssuedBackend: "ca-3"}, start) // by who has not heard of it
	want(t, "and of it alone", k.Of(web, minute(7), nobody), "s7 8m0s, ca-3 x1")
	if n := len(other.News(10)); n != 0 {
		t.Errorf("%d records are news twice", n)
	}
	if other.Again(); len(other.News(10)) != 1 {
		t.Error("nothing is told again")
	}

	// A crash: what was flushed is there, an open stream ended then.
	k.Began(web, stream(9, false))
	if err := k.Flush(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	after := filepath.Join(t.TempDir(), "insights.jsonl")
	if err := os.WriteFile(after, append(append([]byte("nonsense\n"), text...), `{"proxy": "default.web.1", "rec`...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(after, minute(30), minute(30)); err != nil {
		t.Fatal(err)
	}
	k = open(t, after)
	want(t, "after a crash", k.Of(web, start, here), "s7 8m0s, s9 30m0s, ca-3 x1")
	k.Certified(web, mesh.DataplaneMTLS{Regenerated: minute(31), IssuedBackend: "ca-4"}, minute(7))
	want(t, "counting goes on", k.Of(web, start, here), "s7 8m0s, s9 30m0s, ca-4 x2")
	k.Forget(func(id proxy.ID) bool { return id == web })
	want(t, "forgotten", k.Of(web, start, here), "")
}

// TestCertificatesAreCountedOnce has keepers sign by turns and at once, and hear
// of each other late, twice and out of order.
func TestCertificatesAreCountedOnce(t *testing.T) {
	dir := t.TempDir()
	path := func(i int) string { return filepath.Join(dir, fmt.Sprint(i)) }
	var keepers []*history.Keeper
	for i := range 3 {
		keepers = append(keepers, open(t, path(i)))
	}
	dice := rand.New(rand.NewPCG(1, 0)) //nolint:gosec // it chooses an order
	var notes []history.Record
	const certificates = 100
	for n := range certificates {
		i := dice.IntN(len(keepers))
		keepers[i].Certified(web, mesh.DataplaneMTLS{Regenerated: minute(n), IssuedBackend: "ca-1"}, start)
		notes = append(notes, keepers[i].News(1)[web])
		keepers[dice.IntN(len(keepers))].Merge(web, notes[dice.IntN(len(notes))])
		if n == certificates/2 { // one is started again
			keepers[i].Close()
			keepers[i] = open(t, path(i))
		}
	}
	for i, k := range keepers {
		for _, n := range dice.Perm(len(notes)) {
			k.Merge(web, notes[n])
		}
		want(t, fmt.Sprint("keeper ", i), k.Of(web, start, nobody), fmt.Sprintf("ca-1 x%d", certificates))
	}
}

// TestOlderCount goes on with what an older version wrote.
func TestOlderCount(t *testing.T) {
	path := filepath.Join(t.TempDir(), "insights.jsonl")
	was := `{"proxy": "default.web.1", "record": {"mTLS": {"lastCertificateRegeneration": "2026-11-26T12:02:00Z", "certificateRegenerations": 7, "issuedBackend": "ca-1"}}}`
	if err := os.WriteFile(path, []byte(was+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	k := open(t, path)
	want(t, "as it was", k.Of(web, start, nobody), "ca-1 x7")
	k.Certified(web, mesh.DataplaneMTLS{Regenerated: minute(3), IssuedBackend: "ca-1"}, start)
	want(t, "one more", k.Of(web, start, nobody), "ca-1 x8")
}

// TestJournalStaysSmall: a proxy that comes and goes for ever costs a file that
// is written anew now and then.
func TestJournalStaysSmall(t *testing.T) {
	path := filepath.Join(t.TempDir(), "insights.jsonl")
	k := open(t, path)
	for n := range 45_000 {
		if k.Ended(web, stream(n, true)); n%1000 == 0 {
			if err := k.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := k.Flush(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 16<<20 {
		t.Errorf("the journal of one proxy has %d bytes", info.Size())
	}
	want(t, "at the end", k.Of(web, start, here), fmt.Sprintf("s44998 %s, s44999 %s", 44999*time.Minute, 45000*time.Minute))
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), "insights-*")); err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

// BenchmarkBegan is what a stream that begins costs.
func BenchmarkBegan(b *testing.B) {
	k := history.New(false)
	if err := k.Open(filepath.Join(b.TempDir(), "insights.jsonl"), slog.New(slog.DiscardHandler)); err != nil {
		b.Fatal(err)
	}
	defer k.Close()
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		k.Began(proxy.ID{Mesh: "default", Name: fmt.Sprint("web-", n%5000)}, stream(n, false))
	}
}
