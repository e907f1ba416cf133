package agent

import (
	"errors"

	"github.com/weft-mesh/weft/pkg/proxy"
	"github.com/weft-mesh/weft/pkg/redirect"
	"github.com/weft-mesh/weft/pkg/redirect/nftables"
	"github.com/weft-mesh/weft/pkg/redirect/route"
)

// marksInUse tells who else uses the mark bits by which the proxy is told.
func marksInUse() ([]redirect.Difference, error) {
	filters, err := nftables.MarksInUse(proxy.MarkMask)
	if err != nil && !errors.Is(err, redirect.ErrNotSupported) {
		return nil, err
	}
	rules, err := route.MarksInUse(proxy.MarkMask)
	return append(filters, rules...), err
}
