package rest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/cp/admission"
	"github.com/weft-mesh/weft/pkg/cp/audit"
	"github.com/weft-mesh/weft/pkg/cp/store/memory"
)

// TestEveryWriteIsWrittenDown makes each kind of write, and some that are
// refused, and reads the audit log.
func TestEveryWriteIsWrittenDown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l, err := audit.Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	user := User{Name: "joe\n\u202e", Groups: []string{AdminGroup}}
	raw := "e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"jti":"id-7"}`)) + ".c2ln"
	f := newFixture(t, func(s *Server) {
		inner := audit.Over(memory.New(), l)
		adm := &admission.Admission{Store: inner, Authority: noAuthority{}, Keys: noKeys{}}
		if err := adm.EnsureDefaultMesh(context.Background()); err != nil {
			t.Fatal(err)
		}
		s.Store, s.Admission, s.Audit = inner, adm, l
		s.IssueDataplane = func(context.Context, api.DataplaneTokenRequest) (string, error) { return raw, nil }
		s.Authenticate = func(r *http.Request) (User, error) {
			if r.Header.Get("Authorization") == "" {
				return User{}, ErrNoCredential
			}
			return user, nil
		}
	})
	retry := func(n string) string {
		return `{"type": "Retry", "mesh": "default", "name": "r", "sources": [{"match": {"kuma.io/service": "*"}}], "destinations": [{"match": {"kuma.io/service": "*"}}], "conf": {"http": {"numRetries": ` + n + `}}}`
	}
	f.want(t, 201, "PUT", "/meshes/default/retries/r", retry("1"))
	f.want(t, 200, "PUT", "/meshes/default/retries/r", retry("1"))             // nothing changes
	f.want(t, 200, "PUT", "/meshes/default/retries/r?dryRun=true", retry("3")) // nor here
	f.want(t, 200, "GET", "/meshes/default/retries/r", "")
	f.want(t, 200, "PUT", "/meshes/default/retries/r", retry("2"))
	f.want(t, 201, "PUT", "/meshes/default/secrets/s", `{"type": "Secret", "mesh": "default", "name": "s", "data": "bmV2ZXIgdG9sZA=="}`)
	f.want(t, 400, "PUT", "/meshes/default/retries/r", `{"type": "Retry", "mesh": "default", "name": "r"}`)
	f.want(t, 200, "POST", "/tokens/dataplane", `{"mesh": "default", "name": "web-1"}`)
	f.want(t, 200, "DELETE", "/meshes/default/retries/r", "")
	f.want(t, 404, "DELETE", "/meshes/default/retries/r", "")
	user.Groups = nil
	f.want(t, 403, "DELETE", "/meshes/default", "")
	for range 50 {
		if resp, _ := f.request(t, "DELETE", "/meshes/default", "", "Authorization", ""); resp.status != 401 {
			t.Fatalf("a stranger is answered %d", resp.status)
		}
	}

	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	strangers := 0
	for line := range strings.Lines(string(data)) {
		e := new(audit.Event)
		if err := json.Unmarshal([]byte(line), e); err != nil {
			t.Fatal(err)
		}
		if e.Via != "rest" {
			continue
		}
		if e.User == "" {
			strangers++
			continue
		}
		if e.User != "joe\n\u202e" || !strings.HasPrefix(e.From, "127.0.0.1:") || e.Status == 0 || e.Time.IsZero() {
			t.Errorf("who, where or when is missing: %s", line)
		}
		text := e.Outcome + " " + e.Call
		for _, c := range e.Changes {
			text += " | " + c.Action + " " + c.Kind + " " + c.Name + " " + strings.Join(c.Diff, ", ")
		}
		got = append(got, text)
	}
	want := []string{
		"done PUT /meshes/default/retries/r | create Retry r ", "done PUT /meshes/default/retries/r | update Retry r conf.http.numRetries: 1 -> 2",
		"done PUT /meshes/default/secrets/s | create Secret s data: -> 10 bytes, sha256:", "refused PUT /meshes/default/retries/r",
		"done POST /tokens/dataplane | issue dataplane token web-1 id: id-7", "done DELETE /meshes/default/retries/r | delete Retry r ",
		"refused DELETE /meshes/default/retries/r", "refused DELETE /meshes/default",
	}
	if len(got) != len(want) {
		t.Errorf("%d lines, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i := range min(len(got), len(want)) {
		if !strings.HasPrefix(got[i], want[i]) && !strings.Contains(got[i], strings.TrimPrefix(want[i], "done PUT /meshes/default/secrets/s ")) {
			t.Errorf("line %d is\n%s\nwant\n%s", i, got[i], want[i])
		}
	}
	if strangers == 0 || strangers > 10 {
		t.Errorf("%d of 50 tries of a stranger are told", strangers)
	}
	for _, never := range []string{"never told", "bmV2ZXI", raw, token} {
		if strings.Contains(string(data), never) {
			t.Errorf("%q is in the audit log", never)
		}
	}
	if n := strings.Count(f.log.String(), "request refused"); n > 12 {
		t.Errorf("%d refusals are in the log", n)
	}
}
