package render

import (
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/weft-mesh/weft/pkg/proxy"
)

func TestCheck(t *testing.T) {
	modify := func(of, do, text string) *proxy.Template {
		return &proxy.Template{Modifications: []proxy.Modification{{Part: "conf.modifications[0]." + of, Of: of, Do: do, Text: text}}}
	}
	raw := func(name, text string) *proxy.Template {
		return &proxy.Template{Resources: []proxy.Raw{{Part: "conf.resources[0]", Name: name, Text: text}}}
	}
	const listener = "'@type': type.googleapis.com/envoy.config.listener.v3.Listener\nname: a\naddress: {socket_address: {address: 127.0.0.1, port_value: 1}}"
	for _, c := range []struct {
		name string
		t    *proxy.Template
		want string // of part and text
	}{
		{"a cluster", modify(proxy.OfCluster, proxy.Add, "name: x\nconnect_timeout: 1s"), ""},
		{"JSON", modify(proxy.OfCluster, proxy.Add, `{"name": "x", "connectTimeout": "1s"}`), ""},
		{"part of a cluster", modify(proxy.OfCluster, proxy.Patch, "connect_timeout: 1s"), ""},
		{"any filter", modify(proxy.OfHTTPFilter, proxy.AddFirst, "name: x\ntyped_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm}"), ""},
		{"removed", modify(proxy.OfHTTPFilter, proxy.Remove, ""), ""},
		{"no YAML", modify(proxy.OfCluster, proxy.Add, "name: [x"), "conf.modifications[0].cluster.value is no YAML"},
		{"a key twice", modify(proxy.OfCluster, proxy.Add, "name: x\nname: z"), "conf.modifications[0].cluster.value is no YAML"},
		{"no mapping", modify(proxy.OfCluster, proxy.Add, "- x"), "conf.modifications[0].cluster.value is no Cluster of Envoy's"},
		{"unknown field", modify(proxy.OfListener, proxy.Patch, "port: 1"), `conf.modifications[0].listener.value is no Listener of Envoy's: (line 1:2): unknown field "port"`},
		{"wrong shape", modify(proxy.OfVirtualHost, proxy.Patch, "domains: x"), "conf.modifications[0].virtualHost.value is no VirtualHost of Envoy's"},
		{"unknown type", modify(proxy.OfNetworkFilter, proxy.AddFirst, "name: x\ntyped_config: {'@type': type.googleapis.com/envoy.extensions.Nonsense}"), "conf.modifications[0].networkFilter.value is no Filter of Envoy's"},
		{"not valid", modify(proxy.OfVirtualHost, proxy.Add, "name: x"), "conf.modifications[0].virtualHost.value is not valid"},
		{"without a name", modify(proxy.OfCluster, proxy.Add, "connect_timeout: 1s"), "conf.modifications[0].cluster.value needs a name"},
		{"the agent's", modify(proxy.OfCluster, proxy.Add, "name: weft_sds"), `conf.modifications[0].cluster.value must not be called "weft_sds"`},
		{"raw", raw("a", listener), ""},
		{"raw by another name", raw("b", listener), `conf.resources[0].resource is called "a", and not "b"`},
		{"raw without a type", raw("a", "name: a"), "conf.resources[0].resource is no Any of Envoy's"},
		{"raw of an unknown type", raw("a", "'@type': type.googleapis.com/x.Y"), "conf.resources[0].resource is no Any of Envoy's"},
		{"raw endpoints", raw("a", "'@type': type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment\ncluster_name: a"), "conf.resources[0].resource is of type envoy.config.endpoint.v3.ClusterLoadAssignment; only"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			for _, f := range Check(c.t) {
				got += f.Part + " " + f.Text
			}
			if !strings.HasPrefix(got, c.want) || (c.want == "") != (got == "") {
				t.Errorf("faults %q, want %q", got, c.want)
			}
		})
	}
}

func TestMerge(t *testing.T) {
	read := func(text string) *clusterv3.Cluster {
		t.Helper()
		c := new(clusterv3.Cluster)
		if err := parse(text, c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	const tls = "'@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
	for _, c := range []struct{ name, to, from, want string }{
		{"a scalar", "name: a\nalt_stat_name: x", "alt_stat_name: z", "name: a\nalt_stat_name: z"},
		{"a duration is replaced", "connect_timeout: 1.5s", "connect_timeout: 2s", "connect_timeout: 2s"},
		{"a wrapper is replaced", "per_connection_buffer_limit_bytes: 5", "per_connection_buffer_limit_bytes: 0", "per_connection_buffer_limit_bytes: 0"},
		{"a message is merged", "load_assignment: {cluster_name: a}", "load_assignment: {policy: {overprovisioning_factor: 1}}", "load_assignment: {cluster_name: a, policy: {overprovisioning_factor: 1}}"},
		{"a list grows", "filters: [{name: a}]", "filters: [{name: b}]", "filters: [{name: a}, {name: b}]"},
		{"a map gains", "metadata: {filter_metadata: {a: {x: 1}}}", "metadata: {filter_metadata: {b: {z: 2}}}", "metadata: {filter_metadata: {a: {x: 1}, b: {z: 2}}}"},
		{"one of several", "type: STATIC", "cluster_type: {name: x}", "cluster_type: {name: x}"},
		{"what is packed", "transport_socket: {name: tls, typed_config: {" + tls + ", sni: a}}", "transport_socket: {typed_config: {" + tls + ", allow_renegotiation: true}}",
			"transport_socket: {name: tls, typed_config: {" + tls + ", sni: a, allow_renegotiation: true}}"},
		{"what is packed otherwise", "transport_socket: {name: tls, typed_config: {" + tls + "}}",
			"transport_socket: {typed_config: {'@type': type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}}",
			"transport_socket: {name: tls, typed_config: {'@type': type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			to, from := read(c.to), read(c.from)
			merge(to, from)
			if got, want := protojson.Format(to), protojson.Format(read(c.want)); strings.Join(strings.Fields(got), "") != strings.Join(strings.Fields(want), "") {
				t.Errorf("is %s, want %s", got, want)
			}
			if got, want := protojson.Format(from), protojson.Format(read(c.from)); strings.Join(strings.Fields(got), "") != strings.Join(strings.Fields(want), "") {
				t.Errorf("what was merged became %s", got)
			}
		})
	}
}
