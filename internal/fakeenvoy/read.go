package fakeenvoy

import (
	"fmt"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
)

// item is one resource of a response.
type item struct {
	name, version string
	body          *anypb.Any
}

func (c *Client) read() {
	defer close(c.done)
	for {
		err := c.readOne()
		if err == nil {
			continue
		}
		c.mu.Lock()
		c.err = err
		c.tell()
		c.mu.Unlock()
		return
	}
}

func (c *Client) readOne() error {
	if c.opt.World {
		r, err := c.world.Recv()
		if err != nil {
			return err
		}
		var items []item
		for _, a := range r.GetResources() {
			items = append(items, item{nameOf(a), r.GetVersionInfo(), a})
		}
		c.take(r.GetTypeUrl(), r.GetNonce(), r.GetVersionInfo(), items, nil)
		return nil
	}
	r, err := c.delta.Recv()
	if err != nil {
		return err
	}
	var items []item
	for _, a := range r.GetResources() {
		items = append(items, item{a.GetName(), a.GetVersion(), a.GetResource()})
	}
	c.take(r.GetTypeUrl(), r.GetNonce(), r.GetSystemVersionInfo(), items, r.GetRemovedResources())
	return nil
}

// take handles one response: Envoy's way of applying, answering, and asking
// for what follows from it.
func (c *Client) take(typeURL, nonce, version string, items []item, removed []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.tell()

	s := &c.state
	var names []string
	refused := ""
	for _, it := range items {
		names = append(names, it.name)
		why := ""
		if c.opt.Refuse != nil {
			why = c.opt.Refuse(typeURL, it.name)
		}
		if why == "" {
			why = s.put(typeURL, it)
		}
		if why != "" {
			refused = fmt.Sprintf("Error adding/updating %s: %s", it.name, why)
		}
	}
	if c.opt.World && (typeURL == Clusters || typeURL == Listeners) {
		removed = s.missing(typeURL, names) // these are told whole
	}
	for _, name := range removed {
		s.remove(typeURL, name)
	}
	s.Responses = append(s.Responses, Response{Type: typeURL, Names: names, Removed: removed, Refused: refused})
	if typeURL == Clusters && refused == "" && !c.opt.Bare {
		c.held = func() { c.answer(typeURL, nonce, version, "") }
	} else {
		c.answer(typeURL, nonce, version, refused)
	}
	defer func() {
		if c.held != nil && len(s.Warming) == 0 {
			c.held()
			c.held = nil
		}
	}()
	if c.opt.Bare || c.opt.Silent {
		return
	}
	switch typeURL {
	case Clusters:
		if want := s.following(); len(want) > 0 {
			c.ask(Endpoints, want)
		}
		if _, asked := c.asked[Listeners]; !asked {
			c.ask(Listeners, nil)
		}
	case Listeners:
		if want := s.routesNamed(); len(want) > 0 {
			c.ask(Routes, want)
		}
	}
}

// tell wakes whoever waits. c.mu is held.
func (c *Client) tell() {
	close(c.changed)
	c.changed = make(chan struct{})
}

func nameOf(a *anypb.Any) string {
	m, err := a.UnmarshalNew()
	if err != nil {
		return ""
	}
	switch m := m.(type) {
	case *endpointv3.ClusterLoadAssignment:
		return m.GetClusterName()
	case *clusterv3.Cluster:
		return m.GetName()
	case *listenerv3.Listener:
		return m.GetName()
	case *routev3.RouteConfiguration:
		return m.GetName()
	case *tlsv3.Secret:
		return m.GetName()
	case *hostv1.NameTable:
		return "names"
	}
	return ""
}

// routesOf names the routes that a listener wants.
func routesOf(l *listenerv3.Listener) (names []string) {
	chains := append(l.GetFilterChains(), l.GetDefaultFilterChain())
	for _, chain := range chains {
		for _, f := range chain.GetFilters() {
			var h hcmv3.HttpConnectionManager
			if a := f.GetTypedConfig(); !a.MessageIs(&h) || proto.Unmarshal(a.GetValue(), &h) != nil {
				continue
			}
			if n := h.GetRds().GetRouteConfigName(); n != "" {
				names = append(names, n)
			}
		}
	}
	return names
}
