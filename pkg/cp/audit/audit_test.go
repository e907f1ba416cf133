package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/cp/store/memory"
	"github.com/weft-mesh/weft/pkg/cp/store/storetest"
	"github.com/weft-mesh/weft/pkg/mesh"
)

func open(t *testing.T) (*Log, *bytes.Buffer) {
	t.Helper()
	var said bytes.Buffer
	l, err := Open(filepath.Join(t.TempDir(), "audit", "audit.jsonl"), slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, &said
}

func lines(t *testing.T, path string) (events []*Event, text string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := bufio.NewScanner(bytes.NewReader(data))
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		e := new(Event)
		if err := json.Unmarshal(s.Bytes(), e); err != nil {
			t.Fatalf("%v: %s", err, s.Text())
		}
		events = append(events, e)
	}
	return events, string(data)
}

func TestStore(t *testing.T) {
	l, _ := open(t)
	storetest.Run(t, func(t *testing.T, _ string) store.Store {
		s := Over(memory.New(), l)
		t.Cleanup(func() { _ = s.Close() })
		return s
	}, storetest.Volatile)
}

func TestWhatIsWrittenDown(t *testing.T) {
	l, _ := open(t)
	s := Over(memory.New(), l)
	must := func(r mesh.Resource, err error) mesh.Resource {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	secret := mesh.Resource{Kind: mesh.SecretKind, Meta: mesh.Meta{Mesh: "default", Name: "s"}, Spec: &mesh.Secret{Data: []byte("never told")}}
	secret.Meta = must(s.Put(t.Context(), secret)).Meta // by the control plane itself

	e := &Event{User: "joe", Groups: []string{"ops"}, From: "192.0.2.1:99", Via: "rest", Call: "PUT /meshes/default/external-services/e", Status: 200, Outcome: Done}
	ctx := Begin(t.Context(), e)
	out := mesh.Resource{Kind: mesh.ExternalServiceKind, Meta: mesh.Meta{Mesh: "default", Name: "e"}, Spec: &mesh.ExternalService{
		Networking: mesh.ExternalNetworking{Address: "a.example:443", TLS: &mesh.ExternalTLS{ClientKey: &mesh.DataSource{InlineString: "never told"}}},
		Tags:       mesh.Tags{"kuma.io/service": "e"},
	}}
	out.Meta = must(s.Put(ctx, out)).Meta
	changed := out
	changed.Spec = &mesh.ExternalService{Networking: mesh.ExternalNetworking{Address: "b.example:443"}, Tags: mesh.Tags{"kuma.io/service": "e"}}
	changed.Meta = must(s.Put(ctx, changed)).Meta
	if _, err := s.Put(ctx, out); !errors.Is(err, store.ErrConflict) {
		t.Errorf("an old version: %v", err)
	}
	secret.Spec = &mesh.Secret{Data: []byte("never told either")}
	must(s.Put(ctx, secret))
	if err := s.Delete(ctx, out.Key(), 0); err != nil {
		t.Fatal(err)
	}
	l.Write(e)

	events, text := lines(t, l.path)
	if strings.Contains(text, "never told") || strings.Contains(text, "bmV2ZXI") {
		t.Errorf("a secret is told:\n%s", text)
	}
	if len(events) != 2 || events[0].Via != "control-plane" || events[1].User != "joe" || len(events[1].Changes) != 4 || events[1].Time.IsZero() {
		t.Fatalf("events:\n%s", text)
	}
	var got []string
	for _, c := range events[1].Changes {
		got = append(got, fmt.Sprint(c.Action, " ", c.Kind, " ", c.Name, " ", len(c.Diff) > 0))
	}
	if want := "create ExternalService e true, update ExternalService e true, update Secret s true, delete ExternalService e true"; strings.Join(got, ", ") != want {
		t.Errorf("changes %q, want %q", got, want)
	}
	update := strings.Join(events[1].Changes[1].Diff, "\n")
	if !strings.Contains(update, `networking.address: "a.example:443" -> "b.example:443"`) || !strings.Contains(update, "networking.tls.clientKey.inlineString: sha256:") || strings.Contains(update, "kuma.io/service") {
		t.Errorf("diff:\n%s", update)
	}
	if c := events[1].Changes[1]; c.Was != out.Meta.Version || c.Version != changed.Meta.Version {
		t.Errorf("versions %d to %d", c.Was, c.Version)
	}
}

// Nothing that a caller chooses can end a line, begin another one, or fill the
// disk at once.
func TestLinesCannotBeForged(t *testing.T) {
	l, _ := open(t)
	for _, bad := range []string{"a\n{\"outcome\":\"done\"}", "a\r\n", "\x1b[2J", "\u202eevil", "\u2028", "\x00\x7f", "\xff\xfe", "😀", strings.Repeat("x", 100_000)} {
		l.Write(&Event{User: bad, Via: "rest", Call: "PUT /" + bad, Reason: bad, Outcome: Refused})
	}
	events, text := lines(t, l.path)
	if len(events) != 9 {
		t.Errorf("%d events", len(events))
	}
	for _, r := range text {
		if r != '\n' && (r < 0x20 || r > 0x7e) {
			t.Fatalf("%q is in the file", r)
		}
	}
	if longest := len(text); longest > 30_000 {
		t.Errorf("%d bytes", longest)
	}
	if events[7].User != "😀" {
		t.Errorf("a user's name became %q", events[7].User)
	}
}

func TestFilesAreTurned(t *testing.T) {
	l, said := open(t)
	l.most, l.keep = 2000, 3
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 50 {
				l.Write(&Event{Via: "rest", Outcome: Done, Reason: strings.Repeat("x", 100)})
			}
		})
	}
	wait.Wait()
	files, err := filepath.Glob(l.path + "*")
	if err != nil || len(files) != 4 {
		t.Errorf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil || info.Size() > 2000 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, info, err)
		}
		lines(t, f)
	}
	// Somebody else puts it aside.
	if err := os.Rename(l.path, l.path+".theirs"); err != nil {
		t.Fatal(err)
	}
	l.Write(&Event{Via: "rest", Outcome: Done})
	if events, _ := lines(t, l.path); len(events) != 1 {
		t.Errorf("%d events after the file was moved away", len(events))
	}
	// A disk that takes nothing is told once, and its end as well.
	dir := filepath.Dir(l.path)
	if err := errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	l.Write(&Event{Via: "rest", Outcome: Done})
	l.Write(&Event{Via: "rest", Outcome: Done})
	if err := errors.Join(os.Remove(dir), os.Mkdir(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	l.Write(&Event{Via: "rest", Outcome: Done})
	if n := strings.Count(said.String(), "cannot be written"); n != 1 || !strings.Contains(said.String(), "is written again") {
		t.Errorf("told %d times:\n%s", n, said)
	}
}

func TestRefusals(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	r := Refusals{Now: func() time.Time { return now }}
	told, omitted := 0, 0
	ask := func(n int, from string) {
		for range n {
			if ok, left := r.Tell(from); ok {
				told++
				omitted += left
			}
		}
	}
	ask(1000, "192.0.2.1:1")
	if told != perSource {
		t.Errorf("%d told of one address", told)
	}
	for n := range 10_000 {
		ask(1, fmt.Sprintf("[2001:db8::%x]:1", n))
	}
	if told != perMinute {
		t.Errorf("%d told of all", told)
	}
	now = now.Add(time.Minute)
	ask(1, "192.0.2.1:2")
	if told != perMinute+1 || told+omitted != 11_001 {
		t.Errorf("%d told, %d omitted", told, omitted)
	}
}

func TestNobodyAudits(t *testing.T) {
	var none *Log
	none.Write(&Event{})
	Note(context.Background(), Change{})
	if err := none.Close(); err != nil {
		t.Error(err)
	}
}
