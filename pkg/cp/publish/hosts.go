package publish

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Names of dataplanes' hosts are asked for again after reresolve, as long as
// there are any: DNS tells nobody of a change.
const (
	reresolve    = 10 * time.Second
	resolveLimit = 5 * time.Second // for one name
	resolveAt    = 8               // once
)

// resolving finds the addresses of the host names that the state asks for.
func (p *Publisher) resolving(ctx context.Context) error {
	var names []string
	known := map[string]netip.Addr{}
	failing := map[string]bool{}
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case wanted := <-p.hostNames:
			if slices.Equal(wanted, names) {
				continue
			}
			names = wanted
		case <-again:
		}
		again = nil
		if len(names) > 0 {
			again = time.After(reresolve)
		}
		if now := p.lookups(ctx, names, known, failing); !maps.Equal(now, known) {
			known = now
			offer(p.hosts, now)
		}
	}
}

// lookups asks for all names. A name that cannot be found keeps the address
// that it had; both ends of that are logged.
func (p *Publisher) lookups(ctx context.Context, names []string, known map[string]netip.Addr, failing map[string]bool) map[string]netip.Addr {
	var mu sync.Mutex
	now := make(map[string]netip.Addr, len(names))
	var g errgroup.Group
	g.SetLimit(resolveAt)
	for _, name := range names {
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, resolveLimit)
			defer cancel()
			addr, err := p.resolve(ctx, name)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				if old, ok := known[name]; ok {
					now[name] = old
				}
				if !failing[name] {
					p.log.Warn("host could not be resolved and keeps its last address", "host", name, "error", err)
				}
				failing[name] = true
				return nil //nolint:nilerr // one name stops no other
			}
			now[name] = addr
			if failing[name] {
				p.log.Info("host was resolved again", "host", name, "address", addr)
			}
			failing[name] = false
			return nil
		})
	}
	_ = g.Wait()
	maps.DeleteFunc(failing, func(name string, _ bool) bool { return !slices.Contains(names, name) })
	return now
}

// lookup asks the host's resolver. Of several addresses the smallest counts,
// IPv4 first: an answer in another order is no change.
func lookup(ctx context.Context, host string) (netip.Addr, error) {
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("resolve %q: %w", host, err)
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return slices.MinFunc(addrs, netip.Addr.Compare), nil // the resolver fails rather than return none
}
