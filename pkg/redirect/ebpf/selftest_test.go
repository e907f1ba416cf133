//go:build linux

package ebpf

import (
	"testing"

	"github.com/weft-mesh/weft/internal/testnet"
)

func TestSelfTest(t *testing.T) {
	h := testnet.Hosts(t, 1)[0]
	testnet.SkipIfUnsupported(t, h.Do(func() error { return New(WithCgroup(ownCgroup())).SelfTest(t.Context()) }))
}
