package replica

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/weft-mesh/weft/internal/testpg"
	"github.com/weft-mesh/weft/pkg/cp/store/postgres"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// BenchmarkBeat is what a replica with 10,000 proxies does each second: when
// none of them is different, and when all are.
func BenchmarkBeat(b *testing.B) {
	s, err := postgres.Open(b.Context(), postgres.Options{DSN: testpg.Schema(b), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	var ids []proxy.ID
	for i := range 10_000 {
		ids = append(ids, proxy.ID{Mesh: "default", Name: fmt.Sprintf("web-%d", i)})
	}
	var acked uint64
	g := New(Config{
		Board: s, Instance: "a", Log: slog.New(slog.DiscardHandler),
		Self:    func() Replica { return Replica{} },
		Proxies: func() []proxy.ID { return ids },
		Insight: func(string, string) mesh.DataplaneInsight {
			return mesh.DataplaneInsight{Subscriptions: []mesh.Subscription{{ID: "x", Status: mesh.SubscriptionStatus{Total: mesh.Responses{Acknowledged: acked}}}}}
		},
	})
	for _, all := range []bool{false, true} {
		b.Run(fmt.Sprintf("all changed %t", all), func(b *testing.B) {
			for range b.N {
				if all {
					acked++
				}
				if err := g.exchange(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
