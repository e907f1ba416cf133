//go:build linux

package main

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/pkg/api"
	"github.com/weft-mesh/weft/pkg/mesh"
)

func service(i int) string { return fmt.Sprintf("service-%03d", i) }

func (s shape) serviceOf(proxy int) int { return proxy % s.Services }

// outbounds are the services that a proxy calls, spread over all.
func (s shape) outbounds(proxy int) (out []int) {
	for k := range s.Outbounds {
		out = append(out, (s.serviceOf(proxy)+1+k*7%(s.Services-1))%s.Services)
	}
	return out
}

// calls tells whether a proxy has a service among what it can call.
func (s shape) calls(proxy, service int) bool {
	if s.Transparent {
		return true
	}
	for _, o := range s.outbounds(proxy) {
		if o == service {
			return true
		}
	}
	return false
}

// address is that of the n-th dataplane; nobody is there.
func address(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
}

func dataplaneName(n int) string { return fmt.Sprintf("dp-%05d", n) }

// dataplane is the document of the n-th dataplane, which offers a service.
func (s shape) dataplane(n, offers int, outbounds []int) map[string]any {
	d := mesh.Dataplane{}
	d.Networking.Address = address(n).String()
	d.Networking.Inbound = []mesh.Inbound{{Port: 8080, ServicePort: 8081, Tags: mesh.Tags{mesh.ServiceTag: service(offers), mesh.ProtocolTag: "http"}}}
	for i, o := range outbounds {
		d.Networking.Outbound = append(d.Networking.Outbound, mesh.Outbound{Port: uint32(10001 + i), Tags: mesh.Tags{mesh.ServiceTag: service(o)}})
	}
	if s.Transparent {
		d.Networking.TransparentProxying = &mesh.TransparentProxying{RedirectPortInbound: 15006, RedirectPortOutbound: 15001}
	}
	return map[string]any{"type": "Dataplane", "mesh": "default", "name": dataplaneName(n), "networking": d.Networking}
}

func (cp *controlPlane) put(ctx context.Context, doc map[string]any) error {
	return cp.call(ctx, http.MethodPut, fmt.Sprintf("/meshes/default/dataplanes/%s", doc["name"]), doc, nil)
}

func (cp *controlPlane) remove(ctx context.Context, n int) error {
	return cp.call(ctx, http.MethodDelete, "/meshes/default/dataplanes/"+dataplaneName(n), nil, nil)
}

// fetchToken gets a dataplane token that any dataplane of the mesh may use.
func (cp *controlPlane) fetchToken(ctx context.Context) error {
	return cp.call(ctx, http.MethodPost, "/tokens/dataplane", api.DataplaneTokenRequest{Mesh: "default", ValidFor: "2h"}, &cp.token)
}

// register stores all dataplanes, and calls done for each as soon as it is.
func (cp *controlPlane) register(ctx context.Context, c config, done func(n int)) (time.Duration, error) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(c.workers)
	began := time.Now()
	for n := range c.Proxies {
		g.Go(func() error {
			if err := cp.put(ctx, c.dataplane(n, c.serviceOf(n), c.outbounds(n))); err != nil {
				return err
			}
			done(n)
			return nil
		})
	}
	err := g.Wait()
	return time.Since(began), err
}

// permission lets callers into a service. Each round names other callers, so
// that something changes.
func permission(service string, callers string) map[string]any {
	return map[string]any{
		"type": "TrafficPermission", "mesh": "default", "name": "to-" + service,
		"sources":      []any{map[string]any{"match": map[string]string{mesh.ServiceTag: callers}}},
		"destinations": []any{map[string]any{"match": map[string]string{mesh.ServiceTag: service}}},
	}
}
