package relay

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// takeNames reads the table of names that was just received: the agent is its
// receiver, so it accepts or refuses in Envoy's stead.
func (r *Relay) takeNames(h *holding) {
	res := h.desired[namesResource]
	switch {
	case res == nil:
		delete(h.accepted, namesResource)
		r.takeList(nil)
	case h.accepted[namesResource].GetVersion() == res.Version:
		h.accept(res)
	default:
		list, err := readNames(res.GetResource())
		if err != nil {
			h.refuse(res, err.Error(), time.Now())
			r.log.Warn("table of names refused", "version", res.Version, "error", err)
			break
		}
		h.accept(res)
		r.takeList(list)
	}
	h.answer(h.pending)
}

func readNames(body *anypb.Any) ([]proxy.Name, error) {
	var t hostv1.NameTable
	if err := body.UnmarshalTo(&t); err != nil {
		return nil, fmt.Errorf("read table of names: %w", err)
	}
	list := make([]proxy.Name, 0, len(t.GetNames()))
	for _, n := range t.GetNames() {
		name := proxy.Name{Name: n.GetName()}
		for _, b := range n.GetAddresses() {
			a, ok := netip.AddrFromSlice(b)
			if !ok {
				return nil, fmt.Errorf("read table of names: %q has an address of %d bytes, not 4 or 16", n.GetName(), len(b))
			}
			name.Addresses = append(name.Addresses, a)
		}
		for _, port := range n.GetPorts() {
			name.Ports = append(name.Ports, uint16(port))
		}
		list = append(list, name)
	}
	return list, nil
}

// A delivery hands the newest value on, outside of the relay's lock. A slow
// receiver skips to the present.
type delivery[T any] struct {
	mu   sync.Mutex
	next T
	wake chan struct{}
}

func (d *delivery[T]) put(v T) {
	d.mu.Lock()
	d.next = v
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *delivery[T]) run(ctx context.Context, to func(T)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		}
		d.hand(to)
	}
}

// now hands on what there is, before run does.
func (d *delivery[T]) now(to func(T)) {
	select {
	case <-d.wake:
		d.hand(to)
	default:
	}
}

func (d *delivery[T]) hand(to func(T)) {
	d.mu.Lock()
	v := d.next
	d.mu.Unlock()
	if to != nil {
		to(v)
	}
}
