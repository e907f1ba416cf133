//go:build linux

package e2e

import (
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testmesh"
	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/internal/testtime"
)

var idleHandshakes = flag.Int("idle-handshakes", 1_000, "connections to each door that begin a handshake and say no more; 5000, ten thousand in all, for the whole of it")

// perShake bounds, in kB, what a connection costs the control plane that has
// only begun to speak.
const perShake = 48

// TestIdleHandshakes has a stranger open connections that begin TLS and say no
// more, on the doors of hosts and of REST. Others are answered, memory is
// bounded, and the doors are rid of them soon. (F21)
func TestIdleHandshakes(t *testing.T) {
	segment := testnet.New(t)
	one := testmesh.NewReplica(t, segment.Host("cp"))
	one.StartReplica(t)
	stranger := segment.Host("stranger")
	pid, n := one.Program().PID(), *idleHandshakes

	ask := func() (took time.Duration) {
		began := time.Now()
		if code, _, text, err := one.Ask(http.MethodGet, "/meshes/default", nil); err != nil || code != 200 {
			t.Errorf("somebody else gets %d, %v: %s", code, err, text)
		}
		return time.Since(began)
	}
	p99 := func() time.Duration {
		var all []time.Duration
		for range 200 {
			all = append(all, ask())
		}
		slices.Sort(all)
		return all[len(all)*99/100]
	}
	quiet, before := p99(), resident(t, pid)

	// A ClientHello of 512 bytes, of which the first 100 come.
	begun := append([]byte{22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3}, make([]byte, 89)...)
	var mu sync.Mutex
	var open []net.Conn
	refused := 0
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	opening := make(chan string)
	var work sync.WaitGroup
	for range 16 {
		work.Go(func() {
			for port := range opening {
				c, err := stranger.TryDial("tcp", net.JoinHostPort(one.IP4.String(), port))
				if err == nil {
					_, err = c.Write(begun)
				}
				mu.Lock()
				if err != nil {
					refused++
				} else {
					open = append(open, c)
				}
				mu.Unlock()
			}
		})
	}
	began := time.Now()
	for i := range 2 * n {
		opening <- []string{"5678", "5682"}[i%2]
	}
	close(opening)
	work.Wait()
	opened := time.Since(began)
	during, full := p99(), resident(t, pid)
	still := p99()
	if most := max(2*quiet, 200*time.Millisecond); during > most || still > most {
		t.Errorf("somebody else waits %s as they come and %s while they stay (p99), want at most %s; in quiet it is %s", during, still, most, quiet)
	}
	if most := before + 64 + 2*n*perShake/1024; full > most {
		t.Errorf("resident are %d MB, %d before, want at most %d MB", full, before, most)
	}
	for _, c := range open {
		_ = c.SetReadDeadline(time.Now().Add(testtime.Wait))
		if _, err := io.Copy(io.Discard, c); err != nil {
			if late := net.Error(nil); errors.As(err, &late) && late.Timeout() {
				t.Fatalf("a connection that says nothing is open for %s", testtime.Wait)
			}
		}
	}
	shut := time.Since(began)
	if got := ask(); got > time.Second {
		t.Errorf("then somebody else waits %s", got)
	}
	t.Logf("F21: seed none, connections %d, of which %d stayed at first, refused %d, opened in %s, all shut after %s; others' p99 %s as they come, %s while they stay, %s in quiet; resident %d MB, before %d MB",
		2*n, len(open), refused, opened.Round(time.Millisecond), shut.Round(100*time.Millisecond), during.Round(10*time.Microsecond), still.Round(10*time.Microsecond), quiet.Round(10*time.Microsecond), full, before)
}
