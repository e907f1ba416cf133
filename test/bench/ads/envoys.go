//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"

	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// realEnvoys is how many real ones run among the proxies.
const realEnvoys = 3

// An envoy is a real one: a gateway that calls one service, without an agent.
type envoy struct {
	cmd   *exec.Cmd
	ended chan error
	admin *http.Client
}

// envoys runs real Envoys among the fakes, and adds endpoints to a service that
// all of them call, as the phase endpoints does: the fakes' figure is worth
// something where the real ones have the same change in force as soon.
func envoys(ctx context.Context, f *fleet, t *table) (err error) {
	if f.c.envoy == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var all []*envoy
	defer func() {
		for _, e := range all {
			err = errors.Join(err, e.stop())
		}
	}()
	for i := range realEnvoys {
		e, err := f.startEnvoy(ctx, i)
		if err != nil {
			return fmt.Errorf("a real Envoy: %w", err)
		}
		all = append(all, e)
	}
	first := address(0).String() // of the first dataplane, which offers service 0
	for _, e := range all {
		if err := e.await(ctx, first); err != nil {
			return err
		}
	}
	var fakes, inForce []time.Duration
	for round := range f.c.rounds {
		quiet(ctx)
		n := f.c.Proxies + 500 + round
		done := make(chan error, len(all))
		var began time.Time
		d, _, err := f.change(ctx, resource.EndpointType, address(n).String(), f.callers(0), func() error {
			began = time.Now()
			for _, e := range all {
				go func() { done <- e.await(ctx, address(n).String()) }()
			}
			return f.cp.put(ctx, f.c.dataplane(n, 0, nil))
		})
		if err != nil {
			return err
		}
		for range all {
			if err := <-done; err != nil {
				return err
			}
		}
		fakes, inForce = append(fakes, d), append(inForce, time.Since(began))
	}
	t.row(fmt.Sprintf("endpoint added → in force in %d real Envoys", len(all)), "p50 %s, max %s of %d; in the streams beside them p50 %s, max %s",
		round(median(inForce)), round(slices.Max(inForce)), len(inForce), round(median(fakes)), round(slices.Max(fakes)))
	for round := range f.c.rounds {
		if err := f.cp.remove(ctx, f.c.Proxies+500+round); err != nil {
			return err
		}
	}
	return nil
}

// startEnvoy registers the dataplane of a real Envoy and starts that.
func (f *fleet) startEnvoy(ctx context.Context, i int) (*envoy, error) {
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("envoy-%d", i)
	d := mesh.Dataplane{}
	d.Networking.Address = "127.0.0.1"
	d.Networking.Gateway = &mesh.Gateway{Tags: mesh.Tags{mesh.ServiceTag: "real"}}
	d.Networking.Outbound = []mesh.Outbound{{Port: uint32(port), Tags: mesh.Tags{mesh.ServiceTag: service(0)}}}
	if err := f.cp.put(ctx, map[string]any{"type": "Dataplane", "mesh": "default", "name": name, "networking": d.Networking}); err != nil {
		return nil, err
	}
	dir := filepath.Join(f.cp.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	admin := filepath.Join(dir, "admin.sock")
	doc, err := f.bareBootstrap(name, admin)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "bootstrap.json")
	if err := os.WriteFile(config, doc, 0o600); err != nil {
		return nil, err
	}
	e := &envoy{ended: make(chan error, 1)}
	e.admin = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", admin)
	}}}
	e.cmd = exec.CommandContext(ctx, f.c.envoy, "--config-path", config, "--disable-hot-restart", "--concurrency", "1", "--log-level", "off")
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := e.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { e.ended <- e.cmd.Wait() }()
	return e, nil
}

// bareBootstrap lets an Envoy without an agent follow the control plane. Its
// certificates would come from an agent: there is none, and nothing is called.
func (f *fleet) bareBootstrap(name, admin string) ([]byte, error) {
	host, port, err := net.SplitHostPort(f.cp.hosts)
	if err != nil {
		return nil, err
	}
	type object = map[string]any
	endpoint := func(address object) object {
		return object{"endpoints": []any{object{"lb_endpoints": []any{object{"endpoint": object{"address": address}}}}}}
	}
	http2 := object{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": object{
		"@type":                "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
		"explicit_http_config": object{"http2_protocol_options": object{}},
	}}
	cluster := func(name string, address object, more object) object {
		assignment := endpoint(address)
		assignment["cluster_name"] = name
		c := object{"name": name, "type": "STATIC", "connect_timeout": "5s", "load_assignment": assignment, "typed_extension_protocol_options": http2}
		for k, v := range more {
			c[k] = v
		}
		return c
	}
	return json.Marshal(object{
		"node":  object{"id": "default." + name, "cluster": "real"},
		"admin": object{"address": object{"pipe": object{"path": admin}}},
		"dynamic_resources": object{
			"lds_config": object{"ads": object{}, "resource_api_version": "V3"},
			"cds_config": object{"ads": object{}, "resource_api_version": "V3"},
			"ads_config": object{
				"api_type": "DELTA_GRPC", "transport_api_version": "V3", "set_node_on_first_message_only": true,
				"grpc_services": []any{object{
					"envoy_grpc":       object{"cluster_name": "control_plane"},
					"initial_metadata": []any{object{"key": "authorization", "value": f.cp.token}},
				}},
			},
		},
		"static_resources": object{"clusters": []any{
			cluster("control_plane", object{"socket_address": object{"address": host, "port_value": json.Number(port)}}, object{
				"transport_socket": object{"name": "envoy.transport_sockets.tls", "typed_config": object{
					"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
					"common_tls_context": object{
						"tls_params":         object{"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
						"alpn_protocols":     []any{"h2"},
						"validation_context": object{"trusted_ca": object{"filename": filepath.Join(f.cp.dir, "data", "ca.crt")}},
					},
				}},
			}),
			cluster(proxy.SDSCluster, object{"pipe": object{"path": filepath.Join(filepath.Dir(admin), "nobody.sock")}}, nil),
		}},
	})
}

// await asks the Envoy until its cluster has an address.
func (e *envoy) await(ctx context.Context, address string) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		has, err := e.has(ctx, address)
		if has {
			return nil
		}
		select {
		case <-tick.C:
		case ended := <-e.ended:
			e.ended <- ended
			return fmt.Errorf("Envoy ended: %w", ended) //nolint:staticcheck // a name
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("Envoy does not have %s: %w", address, ctx.Err()), err) //nolint:staticcheck // a name
		}
	}
}

func (e *envoy) has(ctx context.Context, address string) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://envoy/clusters", nil)
	if err != nil {
		return false, err
	}
	resp, err := e.admin.Do(req)
	if err != nil {
		return false, err // it has just been started
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return strings.Contains(string(text), "::"+address+":8080::"), err
}

func (e *envoy) stop() error {
	if err := e.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if err := <-e.ended; err == nil {
		return errors.New("Envoy ended well although it was killed") //nolint:staticcheck // a name
	}
	return nil
}
