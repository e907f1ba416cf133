//go:build linux

package testmesh

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/internal/testpg"
)

// Replicas are several control planes on one PostgreSQL, each on a host of its
// own. The Mesh's own control plane is the first of them.
type Replicas struct {
	*Mesh
	DB  *testnet.Host
	PG  *testpg.Cluster
	DSN string
	All []*Replica

	with []string // further flags of each
}

// A Replica is one control plane.
type Replica struct {
	*testnet.Host
	// Binary runs it: weft-cp, or one that fails where FailPoints says.
	Binary     string
	FailPoints string // see package failpoint
	dir        string
	args       []string
	http       *http.Client
	p          *Program
}

// NewReplica prepares a control plane. args are further flags of weft-cp run.
func NewReplica(t testing.TB, h *testnet.Host, args ...string) *Replica {
	t.Helper()
	r := &Replica{Host: h, Binary: Binary(t, "weft-cp"), dir: envoytest.Dir(t), args: args}
	r.http = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		MaxIdleConnsPerHost: 64,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", r.socket())
		},
	}}
	return r
}

// NewReplicas starts a database and n control planes. args are further flags of
// weft-cp run.
func NewReplicas(t testing.TB, n int, args ...string) *Replicas {
	t.Helper()
	segment := testnet.New(t)
	r := &Replicas{Mesh: &Mesh{Net: segment}, DB: segment.Host("db"), with: args}
	r.PG = testpg.New(t, r.DB.Start, "listen_addresses="+r.DB.IP4.String())
	r.PG.Start(t)
	r.DSN = fmt.Sprintf("postgres://weft@%s:5432/postgres?sslmode=disable", r.DB.IP4)
	for range n {
		one := r.Further(t)
		r.All = append(r.All, one)
		if len(r.All) == 1 {
			r.CP, r.Dir = one.Host, one.dir
		}
	}
	r.cp = r.All[0].p
	for _, one := range r.All {
		Eventually(t, one.Name+" knows the others", func() error { // hosts are told of whom it knows
			_, _, body, err := one.Ask(http.MethodGet, "/_weft/replicas", nil)
			for _, other := range r.All {
				if !strings.Contains(string(body), other.IP4.String()) {
					return fmt.Errorf("it knows %s, %w", body, err)
				}
			}
			return nil
		})
	}
	return r
}

// Further starts one more, which is not of All.
func (r *Replicas) Further(t testing.TB) *Replica {
	t.Helper()
	h := r.Net.Host(fmt.Sprintf("cp%d", len(r.All)+1))
	one := NewReplica(t, h, append([]string{"--store", "postgres", "--store-dsn", r.DSN, "--advertise", h.IP4.String()}, r.with...)...)
	if len(r.All) > 0 {
		one.takeKey(t, r.All[0])
	}
	one.StartReplica(t)
	return one
}

// takeKey gives the replica what a further one needs: the key of secrets.
func (r *Replica) takeKey(t testing.TB, from *Replica) {
	t.Helper()
	err := os.MkdirAll(r.DataDir(), 0o700)
	var text []byte
	if err == nil {
		text, err = os.ReadFile(filepath.Join(from.DataDir(), "secrets.key"))
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(r.DataDir(), "secrets.key"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// DataDir is the control plane's data directory.
func (r *Replica) DataDir() string { return filepath.Join(r.dir, "cp") }

func (r *Replica) socket() string { return filepath.Join(r.dir, "api.sock") }

// StartReplica starts the control plane and waits until it serves.
func (r *Replica) StartReplica(t testing.TB) {
	t.Helper()
	r.Launch(t)
	Eventually(t, r.Name+" serves", func() error {
		status, _, body, err := r.Ask(http.MethodGet, "/_weft/replicas", nil)
		if err != nil || status != 200 {
			return fmt.Errorf("status %d, error %w, %s", status, err, body)
		}
		return nil
	})
}

// Launch is StartReplica without the wait.
func (r *Replica) Launch(t testing.TB) {
	t.Helper()
	r.p = Start(t, r.Host, "env", append([]string{"WEFT_FAILPOINTS=" + r.FailPoints,
		r.Binary, "run", "--data-dir", r.DataDir(), "--api-socket", r.socket()}, r.args...)...)
}

// Program is the control plane's.
func (r *Replica) Program() *Program { return r.p }

// Ask sends a request to the replica's REST API as its administrator; header
// are pairs of name and value.
func (r *Replica) Ask(method, path string, body any, header ...string) (status int, h http.Header, text []byte, err error) {
	var in io.Reader = http.NoBody
	if body != nil {
		doc, err := json.Marshal(body)
		if err != nil {
			return 0, nil, nil, err
		}
		in = bytes.NewReader(doc)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, "http://cp"+path, in)
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	text, err = io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, text, err
}

// Leads tells whether the replica says that it leads.
func (r *Replica) Leads() (bool, error) {
	status, _, text, err := r.Ask(http.MethodGet, "/_weft/replicas", nil)
	if err != nil || status != 200 {
		return false, fmt.Errorf("status %d: %w", status, err)
	}
	var page struct {
		Items []struct{ Leader bool }
	}
	if err := json.Unmarshal(text, &page); err != nil || len(page.Items) == 0 {
		return false, fmt.Errorf("%w: %s", err, text)
	}
	return page.Items[0].Leader, nil
}

// Cut drops all packets between the replica and another host, those of one
// direction only: "in", "out", or "" for both. Heal ends it.
func (r *Replica) Cut(t testing.TB, from *testnet.Host, direction string) {
	t.Helper()
	var rules strings.Builder
	rules.WriteString("table inet cut {\n")
	if direction != "out" {
		fmt.Fprintf(&rules, "chain in { type filter hook input priority -300; ip saddr %s drop; }\n", from.IP4)
	}
	if direction != "in" {
		fmt.Fprintf(&rules, "chain out { type filter hook output priority -300; ip daddr %s drop; }\n", from.IP4)
	}
	rules.WriteString("}\n")
	r.Pipe(t, rules.String(), "nft", "-f", "-")
}

// Heal ends what Cut began.
func (r *Replica) Heal(t testing.TB) {
	t.Helper()
	r.Run(t, "nft", "delete", "table", "inet", "cut")
}
