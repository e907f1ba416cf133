//go:build linux

package ebpf

import (
	"context"
	"fmt"

	"github.com/weft-mesh/weft/pkg/redirect"
)

// Counts tell what became of calls and connections since rules of a table were
// put in force on a host that had none.
type Counts struct {
	Proxy   uint64 // connections sent to the proxy, counted where they are sent and where they arrive
	DNS     uint64 // queries, or connections for them, sent to the agent
	Inbound uint64 // connections from elsewhere handed to the proxy
	Self    uint64 // calls of the proxy to its own host
	Direct  uint64 // went straight though nothing excludes them: bound to a device
	Refused uint64 // no listener, or a listener called directly
	Full    uint64 // refused for want of room to remember them
}

// Counts reads them. Where nothing is in force all are 0.
func (e *Engine) Counts(ctx context.Context, table string) (n Counts, err error) {
	r := redirect.Rules{Table: table}
	if err := r.Validate(); err != nil {
		return n, err
	}
	table = r.Normal().Table
	m, _, ok, err := e.opened(ctx, table)
	if err != nil || !ok {
		return n, wrap("count the calls of", table, err)
	}
	defer m.close()
	for i, to := range []*uint64{&n.Proxy, &n.DNS, &n.Inbound, &n.Self, &n.Direct, &n.Refused, &n.Full} {
		var each []uint64 // by processor
		if err := m["counts"].Lookup(uint32(i), &each); err != nil {
			return n, wrap("count the calls of", table, fmt.Errorf("read map counts: %w", err))
		}
		for _, c := range each {
			*to += c
		}
	}
	return n, nil
}
