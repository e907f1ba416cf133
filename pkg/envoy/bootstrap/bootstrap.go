// Package bootstrap writes the file that an Envoy of ours starts from.
//
// It knows Envoy's words but not its protobuf types, so that the agent stays
// small: the document is plain JSON, and the tests let a real Envoy judge it.
package bootstrap

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// A Config is what one host's bootstrap depends on. Sockets are absolute paths
// of unix sockets; their folder must be open to the agent's user alone.
type Config struct {
	ID          proxy.ID
	Service     string // the cluster of Envoy's node; default ID.Name
	XDSSocket   string // the agent's relay: ADS, delta
	SDSSocket   string // the agent's secrets: SDS
	AdminSocket string // Envoy makes it, mode 0600
	// The agent's ears for access logs and its answer to scrapes. Without them
	// there are no such clusters, and nothing is logged or told.
	LogsSocket    string // OTLP by gRPC
	MetricsSocket string // HTTP/1.1
	// Resolver is the DNS server of which Envoy asks where hosts outside are;
	// zero is the host's own. The host's is no good where it is the agent that
	// answers: it would lead Envoy to its own listeners.
	Resolver netip.AddrPort
	// Memory is the most memory that Envoy may have, in bytes: it sheds load
	// before it has as much. 0 is no limit.
	Memory uint64
	// Metadata becomes that of Envoy's node.
	Metadata map[string]any
}

const (
	xdsCluster = "weft_xds"

	// maxSocketPath is what sockaddr_un holds, without the zero at its end.
	maxSocketPath = 107

	// maxLogRequests is how many batches of lines a proxy has under way to the
	// agent, which only queues them. What exceeds it is dropped and counted.
	maxLogRequests = 32

	// maxConnections is how many connections one host's Envoy accepts.
	maxConnections = 50_000
)

// adminPaths are what the agent asks Envoy for. Everything else that Envoy's
// admin interface can do (stop, change its runtime) it refuses.
var adminPaths = []object{
	{"exact": "/ready"},
	{"exact": "/server_info"},
	{"prefix": "/stats"},
	{"prefix": "/config_dump"},
	{"prefix": "/clusters"},
	{"prefix": "/listeners"},
	{"prefix": "/certs"},
	{"prefix": "/drain_listeners"},
}

type object = map[string]any

// JSON returns the bootstrap. Equal configs give equal bytes. It fails when a
// socket's path is missing, relative, or longer than the kernel takes.
func JSON(c Config) ([]byte, error) {
	if err := errors.Join(
		checkSocket("xDS", c.XDSSocket),
		checkSocket("SDS", c.SDSSocket),
		checkSocket("admin", c.AdminSocket),
		checkOptionalSocket("logs", c.LogsSocket),
		checkOptionalSocket("metrics", c.MetricsSocket),
	); err != nil {
		return nil, fmt.Errorf("bootstrap of %s: %w", c.ID, err)
	}
	service := c.Service
	if service == "" {
		service = c.ID.Name
	}
	node := object{"id": c.ID.String(), "cluster": service}
	if len(c.Metadata) > 0 {
		node["metadata"] = c.Metadata
	}
	doc := object{
		"node": node,
		"admin": object{
			"address":                  object{"pipe": object{"path": c.AdminSocket, "mode": 0o600}},
			"allow_paths":              adminPaths,
			"ignore_global_conn_limit": true,
		},
		"dynamic_resources": object{
			"ads_config": object{
				"api_type":                       "DELTA_GRPC",
				"transport_api_version":          "V3",
				"set_node_on_first_message_only": true,
				"grpc_services":                  []object{{"envoy_grpc": object{"cluster_name": xdsCluster, "retry_policy": comeBack()}}},
			},
			"cds_config": overADS(),
			"lds_config": overADS(),
		},
		"static_resources": statics(c),
		"layered_runtime":  object{"layers": []object{{"name": "weft", "static_layer": runtime()}}},
		"overload_manager": overload(c.Memory),
	}
	if c.Resolver.IsValid() {
		doc["typed_dns_resolver_config"] = resolver(c.Resolver)
	}
	text, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("bootstrap of %s: %w", c.ID, err)
	}
	return append(text, '\n'), nil
}

// statics are what does not come over xDS: the agent in all its parts.
func statics(c Config) object {
	clusters := []object{
		agentCluster(xdsCluster, c.XDSSocket, http2()),
		agentCluster(proxy.SDSCluster, c.SDSSocket, http2()),
	}
	if c.LogsSocket != "" {
		logs := agentCluster(proxy.LogsCluster, c.LogsSocket, http2())
		logs["circuit_breakers"] = object{"thresholds": []object{{"max_requests": maxLogRequests, "max_pending_requests": maxLogRequests}}}
		clusters = append(clusters, logs)
	}
	if c.MetricsSocket != "" {
		clusters = append(clusters, agentCluster(proxy.MetricsCluster, c.MetricsSocket, object{"http_protocol_options": object{}}))
	}
	return object{"clusters": clusters}
}

// comeBack is how soon Envoy asks an agent again that was away: after a restart
// or an upgrade it is there within a second or two. Envoy's own choice goes up
// to half a minute.
func comeBack() object {
	return object{"retry_back_off": object{"base_interval": "0.1s", "max_interval": "1s"}}
}

// overADS waits for the first listeners and clusters as long as it takes: an
// Envoy without them has nothing to do.
func overADS() object {
	return object{"ads": object{}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
}

// agentCluster is the agent, by a unix socket. It may be away for a while (its
// restart, its upgrade): Envoy goes on with what it has and tries again.
func agentCluster(name, socket string, protocol object) object {
	return object{
		"name":            name,
		"type":            "STATIC",
		"connect_timeout": "1s",
		"load_assignment": object{
			"cluster_name": name,
			"endpoints": []object{{"lb_endpoints": []object{{
				"endpoint": object{"address": object{"pipe": object{"path": socket}}},
			}}}},
		},
		"typed_extension_protocol_options": object{
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": object{
				"@type":                "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
				"explicit_http_config": protocol,
			},
		},
	}
}

func http2() object {
	return object{"http2_protocol_options": object{
		"connection_keepalive": object{"interval": "60s", "timeout": "30s"},
	}}
}

// runtime bounds what a regular expression may cost; Envoy's own 100 is too
// little for one that names a few services.
func runtime() object {
	return object{"re2.max_program_size.error_level": 1000}
}

// A name that no server answers for is given up after two tries: a cluster is
// told only when its names were looked up, and others wait behind it.
const (
	resolverTimeout = 2 // seconds
	resolverTries   = 2
)

func resolver(at netip.AddrPort) object {
	return object{
		"name": "envoy.network.dns_resolver.cares",
		"typed_config": object{
			"@type":                 "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
			"resolvers":             []object{{"socket_address": object{"address": at.Addr().String(), "port_value": at.Port()}}},
			"query_timeout_seconds": resolverTimeout,
			"query_tries":           resolverTries,
		},
	}
}

// What Envoy does by how much of its memory is in use. The heap is a part of
// that: stacks, code and buffers of the kernel come on top.
const (
	heapShare  = 0.8  // of the limit is the heap's bound, of which the following are parts
	shrinkFrom = 0.85 // gives free memory back
	closeFrom  = 0.9  // ends HTTP connections after their answer
	refuseFrom = 0.95 // takes no connection more
)

func overload(memory uint64) object {
	monitors := []object{{
		"name": "envoy.resource_monitors.global_downstream_max_connections",
		"typed_config": object{
			"@type":                             "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
			"max_active_downstream_connections": maxConnections,
		},
	}}
	if memory == 0 {
		return object{"resource_monitors": monitors}
	}
	const heap = "envoy.resource_monitors.fixed_heap"
	monitors = append(monitors, object{
		"name": heap,
		"typed_config": object{
			"@type":               "type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
			"max_heap_size_bytes": uint64(heapShare * float64(memory)),
		},
	})
	var actions []object
	for _, a := range []struct {
		name string
		from float64
	}{{"shrink_heap", shrinkFrom}, {"disable_http_keepalive", closeFrom}, {"stop_accepting_connections", refuseFrom}} {
		actions = append(actions, object{
			"name":     "envoy.overload_actions." + a.name,
			"triggers": []object{{"name": heap, "threshold": object{"value": a.from}}},
		})
	}
	return object{"refresh_interval": "0.25s", "resource_monitors": monitors, "actions": actions}
}

func checkOptionalSocket(what, path string) error {
	if path == "" {
		return nil
	}
	return checkSocket(what, path)
}

func checkSocket(what, path string) error {
	switch {
	case path == "":
		return fmt.Errorf("%s socket: has no path", what)
	case !filepath.IsAbs(path):
		return fmt.Errorf("%s socket %q: must be an absolute path", what, path)
	case len(path) > maxSocketPath:
		return fmt.Errorf("%s socket %q: is %d bytes long, the kernel takes %d: choose a shorter folder",
			what, path, len(path), maxSocketPath)
	}
	return nil
}
