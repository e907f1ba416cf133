//go:build linux

package bench

import (
	"testing"

	"github.com/weft-mesh/weft/internal/redirecttest"
	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/iptables"
	"github.com/weft-mesh/weft/pkg/redirect/nftables"
)

// BenchmarkApply measures what it takes to put rules in force, engine beside
// engine in one run: other rules than before, and the same again.
func BenchmarkApply(b *testing.B) {
	one, two := redirecttest.Broken(), redirecttest.Broken()
	two.Outbound.Exclude.UIDs = nil
	for _, engine := range []struct {
		name string
		redirect.Redirector
	}{
		{"nftables", nftables.New()},
		{"iptables-nft", iptables.New(iptables.WithFlavour(iptables.NFT))},
		{"iptables-legacy", iptables.New(iptables.WithFlavour(iptables.Legacy))},
	} {
		for name, turns := range map[string][]redirect.Rules{"other": {one, two}, "same": {one, one}} {
			b.Run(engine.name+"/"+name, func(b *testing.B) {
				h := testnet.Hosts(b, 1)[0]
				for i := 0; b.Loop(); i++ {
					if err := h.Do(func() error { return engine.Apply(b.Context(), turns[i%2]) }); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
