//go:build linux

package redirecttest_test

import (
	"testing"

	"github.com/weft-mesh/weft/internal/redirecttest"
	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/nftables"
)

func TestNFTables(t *testing.T) {
	redirecttest.Run(t, func() redirect.Redirector { return nftables.New() }, redirecttest.Gone("nft flush ruleset"))
}
