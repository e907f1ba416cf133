//go:build linux

package e2e

import (
	"flag"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testmesh"
	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/api"
)

var manyOverREST = flag.Int("rest-many", 2_000, "resources that are put over REST; 100000 for the whole of it")

// perResource bounds, in kB, what a resource costs the control plane in
// memory: document, snapshot and feed, and what the collector has not taken yet.
const perResource = 12

// TestManyOverREST pushes resources as fast as they are taken, while somebody
// else asks for other things, and deletes them again. (F17)
func TestManyOverREST(t *testing.T) {
	one := testmesh.NewReplica(t, testnet.New(t).Host("cp"))
	one.StartReplica(t)
	n := *manyOverREST
	before := resident(t, one.Program().PID())
	quit, others := make(chan struct{}), make(chan []time.Duration)
	go func() {
		var took []time.Duration
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				others <- took
				return
			case <-tick.C:
			}
			began := time.Now()
			if code, _, text, err := one.Ask(http.MethodGet, "/meshes/default", nil); err != nil || code != 200 {
				t.Errorf("somebody else gets %d, %v: %s", code, err, text)
			}
			took = append(took, time.Since(began))
		}
	}()
	each := func(method string, want int, body func(name string) any) time.Duration {
		began := time.Now()
		next := make(chan int, n)
		for i := range n {
			next <- i
		}
		close(next)
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() {
				for i := range next {
					name := fmt.Sprintf("many-%d", i)
					if code, _, text, err := one.Ask(method, "/meshes/default/timeouts/"+name, body(name)); err != nil || code != want {
						t.Errorf("%s %s: %d, %v: %s", method, name, code, err, text)
						return
					}
				}
			})
		}
		wg.Wait()
		return time.Since(began)
	}
	wrote := each(http.MethodPut, 201, func(name string) any {
		return map[string]any{
			"type": "Timeout", "mesh": "default", "name": name,
			"sources":      []any{map[string]any{"match": map[string]string{"kuma.io/service": name}}},
			"destinations": []any{map[string]any{"match": map[string]string{"kuma.io/service": "*"}}},
			"conf":         map[string]string{"connectTimeout": "1s"},
		}
	})
	full := resident(t, one.Program().PID())
	code, _, _, err := one.Ask(http.MethodPut, "/meshes/default/secrets/large", map[string]any{
		"type": "Secret", "mesh": "default", "name": "large", "data": strings.Repeat("QUFB", api.MaxDocument/4+1),
	})
	if err != nil || code != http.StatusRequestEntityTooLarge {
		t.Errorf("a document above the limit: %d, %v", code, err)
	}
	deleted := each(http.MethodDelete, 200, func(string) any { return nil })
	close(quit)
	took := <-others
	slices.Sort(took)
	took = took[:len(took)-1] // where the machine stands still, one of them meets it
	p99 := took[len(took)*99/100]
	if p99 > time.Second {
		t.Errorf("somebody else waits %s (p99), want less than 1 s", p99)
	}
	if most := before + 128 + n*perResource/1024; full > most {
		t.Errorf("resident are %d MB with %d resources, want at most %d MB", full, n, most)
	}
	t.Logf("F17: seed none, resources %d over REST, %.0f writes/s, %.0f deletes/s, others' p99 %s, resident %d MB before, %d MB full, %d MB empty again",
		n, float64(n)/wrote.Seconds(), float64(n)/deleted.Seconds(), p99.Round(100*time.Microsecond), before, full, resident(t, one.Program().PID()))
}
