//go:build linux

package bench

import (
	"context"
	"testing"

	"github.com/weft-mesh/weft/internal/redirecttest"
	"github.com/weft-mesh/weft/internal/testnet"
	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/ebpf"
	"github.com/weft-mesh/weft/pkg/redirect/iptables"
	"github.com/weft-mesh/weft/pkg/redirect/nftables"
)

// BenchmarkApply measures what it takes to put rules in force, engine beside
// engine in one run: other rules than before, and the same again.
func BenchmarkApply(b *testing.B) {
	one, two := redirecttest.Broken(), redirecttest.Broken()
	two.Outbound.Exclude.UIDs = nil
	redirecttest.MountBPF(b)
	folder := redirecttest.OwnCgroup(b)
	for _, engine := range []struct {
		name string
		redirect.Redirector
	}{
		{"nftables", nftables.New()},
		{"iptables-nft", iptables.New(iptables.WithFlavour(iptables.NFT))},
		{"iptables-legacy", iptables.New(iptables.WithFlavour(iptables.Legacy))},
		{"ebpf", ebpf.New(ebpf.WithCgroup(folder))},
	} {
		for name, turns := range map[string][]redirect.Rules{"other": {one, two}, "same": {one, one}} {
			b.Run(engine.name+"/"+name, func(b *testing.B) {
				h := testnet.Hosts(b, 1)[0]
				b.Cleanup(func() {
					if err := h.Do(func() error { return engine.Remove(context.Background(), "") }); err != nil {
						b.Error(err)
					}
				})
				for i := 0; b.Loop(); i++ {
					if err := h.Do(func() error { return engine.Apply(b.Context(), turns[i%2]) }); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
