package mesh_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/pkg/mesh"
)

func TestExternalServiceValidate(t *testing.T) {
	tags := mesh.Tags{"kuma.io/service": "pay"}
	at := func(address string) mesh.ExternalNetworking { return mesh.ExternalNetworking{Address: address} }
	tls := func(t mesh.ExternalTLS) mesh.ExternalNetworking {
		t.Enabled = true
		return mesh.ExternalNetworking{Address: "pay.example.com:443", TLS: &t}
	}
	inline := &mesh.DataSource{InlineString: "PEM"}
	name := func(s string) *string { return &s }
	for _, c := range []struct {
		name string
		spec mesh.ExternalService
		want string
	}{
		{"smallest", mesh.ExternalService{Networking: at("pay.example.com:443"), Tags: tags}, ""},
		{"an address", mesh.ExternalService{Networking: at("192.0.2.1:80"), Tags: tags}, ""},
		{"an IPv6 address", mesh.ExternalService{Networking: at("[2001:db8::1]:80"), Tags: tags}, ""},
		{"all tags", mesh.ExternalService{Networking: at("a.example.com:1"), Tags: mesh.Tags{"kuma.io/service": "pay", "kuma.io/protocol": "HTTP", "kuma.io/zone": "east", "team": "a"}}, ""},
		{"all of TLS", mesh.ExternalService{Networking: tls(mesh.ExternalTLS{
			CACert: &mesh.DataSource{File: "/ca.pem"}, ClientCert: &mesh.DataSource{Secret: "cert"}, ClientKey: &mesh.DataSource{Inline: []byte("key")},
			ServerName: name("other.example.com"), AllowRenegotiation: true, SkipHostnameVerification: true,
		}), Tags: tags}, ""},
		{"nothing", mesh.ExternalService{}, "networking.address: must not be empty\ntags[\"kuma.io/service\"]: tag has to exist"},
		{"no port", mesh.ExternalService{Networking: at("pay.example.com"), Tags: tags}, `networking.address: "pay.example.com" is not host:port`},
		{"no host", mesh.ExternalService{Networking: at(":443"), Tags: tags}, `networking.address: ":443" is not host:port`},
		{"port 0", mesh.ExternalService{Networking: at("a.example.com:0"), Tags: tags}, "networking.address: port must be in the range [1, 65535]"},
		{"port in words", mesh.ExternalService{Networking: at("a.example.com:https"), Tags: tags}, "networking.address: port must be in the range [1, 65535]"},
		{"port too high", mesh.ExternalService{Networking: at("a.example.com:65536"), Tags: tags}, "networking.address: port must be in the range [1, 65535]"},
		{"no name and no address", mesh.ExternalService{Networking: at("a_b!:80"), Tags: tags}, `networking.address: "a_b!" is neither an IP address nor a DNS name`},
		{"any address", mesh.ExternalService{Networking: at("0.0.0.0:80"), Tags: tags}, "networking.address: must not be 0.0.0.0"},
		{"a name of the mesh", mesh.ExternalService{Networking: at("API.mesh:80"), Tags: tags}, "networking.address: \"API.mesh\" must not end in .mesh"},
		{"service named as its host", mesh.ExternalService{Networking: at("pay:80"), Tags: tags}, "tags[\"kuma.io/service\"]: must not be the host of networking.address"},
		{"protocol", mesh.ExternalService{Networking: at("a.example.com:1"), Tags: mesh.Tags{"kuma.io/service": "pay", "kuma.io/protocol": "smtp"}}, "tags[\"kuma.io/protocol\"]: \"smtp\" is not one of"},
		{"two sources of one", mesh.ExternalService{Networking: tls(mesh.ExternalTLS{CACert: &mesh.DataSource{File: "/ca.pem", Secret: "ca"}}), Tags: tags}, "networking.tls.caCert: must have exactly one of secret, file, inline and inlineString, has 2"},
		{"no source", mesh.ExternalService{Networking: tls(mesh.ExternalTLS{CACert: &mesh.DataSource{}, ClientCert: &mesh.DataSource{}, ClientKey: &mesh.DataSource{}}), Tags: tags},
			"networking.tls.caCert: must have exactly one\nnetworking.tls.clientCert: must have exactly one\nnetworking.tls.clientKey: must have exactly one"},
		{"secret's name", mesh.ExternalService{Networking: tls(mesh.ExternalTLS{CACert: &mesh.DataSource{Secret: "A B"}}), Tags: tags}, "networking.tls.caCert.secret: must be lower-case"},
		{"the mesh's own authority", mesh.ExternalService{Networking: tls(mesh.ExternalTLS{CACert: &mesh.DataSource{Secret: "default.ca-builtin-key-ca-1"}}), Tags: tags}, "networking.tls.caCert.secret: \"default.ca-builtin-key-ca-1\" is a name of the control plane's own"},
		{"file", mesh.ExternalService{Networking: tls(mesh.ExternalTLS{CACert: &mesh.DataSource{File: "ca.pem"}}), Tags: tags}, "networking.tls.caCert.file: \"ca.pem\" must be an absolute path"},
		{"certificate alone", mesh.ExternalService{Networking: tls(mesh.ExternalTLS{ClientCert: inline}), Tags: tags}, "networking.tls.clientKey: must be given with clientCert"},
		{"key alone", mesh.ExternalService{Networking: tls(mesh.ExternalTLS{ClientKey: inline}), Tags: tags}, "networking.tls.clientCert: must be given with clientKey"},
		{"empty server name", mesh.ExternalService{Networking: tls(mesh.ExternalTLS{ServerName: name("")}), Tags: tags}, "networking.tls.serverName: must not be empty"},
		{"bad server name", mesh.ExternalService{Networking: tls(mesh.ExternalTLS{ServerName: name("a b")}), Tags: tags}, `networking.tls.serverName: "a b" is neither`},
	} {
		t.Run(c.name, func(t *testing.T) { matchLines(t, c.spec.Validate(), c.want) })
	}
}

func TestExternalServiceHostName(t *testing.T) {
	for _, c := range []struct {
		address  string
		disabled bool
		want     string
	}{
		{"Pay.Example.com.:443", false, "pay.example.com"},
		{"pay.example.com:443", true, ""},
		{"192.0.2.1:443", false, ""},
		{"[2001:db8::1]:443", false, ""},
	} {
		s := mesh.ExternalService{Networking: mesh.ExternalNetworking{Address: c.address, DisableHostDNSEntry: c.disabled}}
		if got := s.HostName(); got != c.want {
			t.Errorf("the host name of %q (disabled: %t) is %q, want %q", c.address, c.disabled, got, c.want)
		}
	}
}

func TestVirtualOutboundValidate(t *testing.T) {
	all := []mesh.Selector{{Match: mesh.Tags{"kuma.io/service": "*"}}}
	service := mesh.VirtualParameter{Name: "service", TagKey: "kuma.io/service"}
	spec := func(host, port string, ps ...mesh.VirtualParameter) mesh.VirtualOutbound {
		return mesh.VirtualOutbound{Selectors: all, Conf: mesh.VirtualOutboundConf{Host: host, Port: port, Parameters: append([]mesh.VirtualParameter{service}, ps...)}}
	}
	for _, c := range []struct {
		name string
		spec mesh.VirtualOutbound
		want string
	}{
		{"smallest", spec("{{.service}}.mesh", "80"), ""},
		{"port of a tag", spec("{{.service}}.example.com", "{{.port}}", mesh.VirtualParameter{Name: "port"}), ""},
		{"a choice", spec(`{{if eq .v "2"}}new{{else}}{{.service}}{{end}}.mesh`, "80", mesh.VirtualParameter{Name: "v", TagKey: "version"}), ""},
		{"nothing", mesh.VirtualOutbound{}, "selectors: must have at least one selector\nconf.parameters: must have one with tagKey\nconf.host: must not be empty\nconf.port: must not be empty"},
		{"selector without tags", mesh.VirtualOutbound{Selectors: []mesh.Selector{{}}, Conf: spec("{{.service}}.mesh", "80").Conf}, "selectors[0].match: must have at least one tag"},
		{"no template", spec("{{.service", "{{80"), "conf.host: is no template\nconf.port: is no template"},
		{"unknown parameter", spec("{{.service}}.{{.version}}.mesh", "{{.port}}"), "conf.host: cannot be filled in\nconf.port: cannot be filled in"},
		{"no name", spec("{{.service}}_!.mesh", "80"), `conf.host: makes "1_!.mesh", which is no DNS name`},
		{"an address", spec("10.0.0.{{.service}}", "80"), `conf.host: makes "10.0.0.1", which is no DNS name`},
		{"one label", spec("x{{.service}}", "80"), `conf.host: makes "x1", which has no dot`},
		{"no port", spec("{{.service}}.mesh", "http"), `conf.port: makes "http", which is no port`},
		{"port too high", spec("{{.service}}.mesh", "70000"), `conf.port: makes "70000"`},
		{"endless", spec(`{{printf "%1000000000d" 1}}{{.service}}.mesh`, "{{range .}}1{{end}}"), "conf.host: must not call printf\nconf.port: must not have {{range"},
		{"variables", spec(`{{$x := .service}}{{$x}}.mesh`, "80"), "conf.host: must have no variables"},
		{"another template", spec(`{{template "x"}}.mesh`, `{{define "x"}}80{{end}}`), "conf.host: must not have {{template\nconf.port: makes \"\", which is no port"},
		{"names of parameters", spec("{{.service}}.mesh", "80", mesh.VirtualParameter{}, mesh.VirtualParameter{Name: "a-b"}, mesh.VirtualParameter{Name: "service", TagKey: "b c"}),
			"conf.parameters[1].name: must be letters\nconf.parameters[2].name: must be letters\nconf.parameters[3].name: \"service\" is the name of conf.parameters[0]\nconf.parameters[3].tagKey: tag key must"},
		{"no parameter is the service", mesh.VirtualOutbound{Selectors: all, Conf: mesh.VirtualOutboundConf{Host: "{{.v}}.mesh", Port: "80", Parameters: []mesh.VirtualParameter{{Name: "v"}}}}, "conf.parameters: must have one with tagKey \"kuma.io/service\""},
	} {
		t.Run(c.name, func(t *testing.T) { matchLines(t, c.spec.Validate(), c.want) })
	}
}

func TestVirtualOutboundEntry(t *testing.T) {
	v := mesh.VirtualOutbound{Conf: mesh.VirtualOutboundConf{Host: "{{.version}}.{{.service}}.Mesh.", Port: "{{.port}}", Parameters: []mesh.VirtualParameter{
		{Name: "service", TagKey: "kuma.io/service"}, {Name: "version"}, {Name: "port"},
	}}}
	tags := func(change func(mesh.Tags)) mesh.Tags {
		t := mesh.Tags{"kuma.io/service": "api", "version": "V1", "port": "8080", "team": "a"}
		change(t)
		return t
	}
	for _, c := range []struct {
		name string
		tags mesh.Tags
		want mesh.VirtualEntry
		err  string
	}{
		{"all there", tags(func(mesh.Tags) {}), mesh.VirtualEntry{Host: "v1.api.mesh", Port: 8080, Tags: mesh.Tags{"kuma.io/service": "api", "version": "V1", "port": "8080"}}, ""},
		{"a tag is missing", tags(func(t mesh.Tags) { delete(t, "version") }), mesh.VirtualEntry{}, `there is no tag "version"`},
		{"no name", tags(func(t mesh.Tags) { t["version"] = "v:1" }), mesh.VirtualEntry{}, `host: makes "v:1.api.mesh"`},
		{"no port", tags(func(t mesh.Tags) { t["port"] = "main" }), mesh.VirtualEntry{}, `port: makes "main"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := v.Namer().Entry(c.tags)
			switch {
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
				t.Errorf("error %v, want %q", err, c.err)
			case c.err == "" && err != nil:
				t.Error(err)
			case c.err == "" && !cmp.Equal(c.want, got):
				t.Error(cmp.Diff(c.want, got))
			}
		})
	}
}

func TestProxyTemplateValidate(t *testing.T) {
	modify := func(ms ...mesh.Modification) mesh.ProxyTemplate {
		return mesh.ProxyTemplate{Conf: mesh.ProxyTemplateConf{Modifications: ms}}
	}
	cluster := func(op, value string, m *mesh.ClusterMatch) mesh.Modification {
		return mesh.Modification{Cluster: &mesh.ClusterModification{Operation: op, Value: value, Match: m}}
	}
	http := func(op, value string, m *mesh.FilterMatch) mesh.Modification {
		return mesh.Modification{HTTPFilter: &mesh.FilterModification{Operation: op, Value: value, Match: m}}
	}
	router := &mesh.FilterMatch{Name: "envoy.filters.http.router", Origin: "inbound", ListenerName: "x", ListenerTags: mesh.Tags{"a": "*"}}
	const first = "conf.modifications[0]."
	for _, c := range []struct {
		name string
		spec mesh.ProxyTemplate
		want string
	}{
		{"the default", mesh.ProxyTemplate{Conf: mesh.ProxyTemplateConf{Imports: &mesh.Profiles{"default-proxy"}}}, ""},
		{"nothing imported", mesh.ProxyTemplate{Conf: mesh.ProxyTemplateConf{Imports: &mesh.Profiles{}}}, ""},
		{"selectors may be empty", mesh.ProxyTemplate{Selectors: []mesh.Selector{{}}, Conf: modify(cluster("remove", "", nil)).Conf}, ""},
		{"every operation", modify(
			cluster("add", "x", nil), cluster("remove", "", nil), cluster("patch", "x", &mesh.ClusterMatch{Origin: "inbound", Name: "x"}),
			mesh.Modification{Listener: &mesh.ListenerModification{Operation: "add", Value: "x"}},
			mesh.Modification{Listener: &mesh.ListenerModification{Operation: "patch", Value: "x", Match: &mesh.ListenerMatch{Origin: "outbound", Name: "x", Tags: mesh.Tags{"a": "b"}}}},
			http("addFirst", "x", nil), http("addLast", "x", nil), http("addBefore", "x", router), http("addAfter", "x", router), http("patch", "x", router), http("remove", "", nil),
			mesh.Modification{NetworkFilter: &mesh.FilterModification{Operation: "remove", Match: router}},
			mesh.Modification{VirtualHost: &mesh.VirtualHostModification{Operation: "add", Value: "x", Match: &mesh.VirtualHostMatch{Origin: "outbound", RouteConfigurationName: "x"}}},
			mesh.Modification{VirtualHost: &mesh.VirtualHostModification{Operation: "remove", Match: &mesh.VirtualHostMatch{Name: "x"}}},
		), ""},
		{"nothing", mesh.ProxyTemplate{}, "conf: must have imports, resources or modifications"},
		{"selectors", mesh.ProxyTemplate{Selectors: []mesh.Selector{{Match: mesh.Tags{"a b": "", "c": ""}}}, Conf: modify(cluster("remove", "", nil)).Conf},
			"selectors[0].match[\"a b\"]: tag key must\nselectors[0].match[\"a b\"]: value must\nselectors[0].match[\"c\"]: value must"},
		{"unknown profile", mesh.ProxyTemplate{Conf: mesh.ProxyTemplateConf{Imports: &mesh.Profiles{"gateway-proxy"}}}, `conf.imports[0]: "gateway-proxy" is no profile`},
		{"empty raw resource", mesh.ProxyTemplate{Conf: mesh.ProxyTemplateConf{Resources: []mesh.RawResource{{}}}},
			"conf.resources[0].name: must not be empty\nconf.resources[0].version: must not be empty\nconf.resources[0].resource: must not be empty"},
		{"no concept", modify(mesh.Modification{}), "conf.modifications[0]: must have exactly one of cluster, listener, networkFilter, httpFilter and virtualHost, has 0"},
		{"two concepts", modify(mesh.Modification{Cluster: &mesh.ClusterModification{Operation: "remove"}, Listener: &mesh.ListenerModification{Operation: "remove"}}), "conf.modifications[0]: must have exactly one of cluster, listener, networkFilter, httpFilter and virtualHost, has 2"},
		{"no operation", modify(cluster("", "x", nil)), first + "cluster.operation: must not be empty"},
		{"operation of another", modify(cluster("addFirst", "x", nil), http("add", "x", nil)), first + "cluster.operation: \"addFirst\" is not one of add, remove, patch\nconf.modifications[1].httpFilter.operation: \"add\" is not one of remove, patch"},
		{"no value", modify(cluster("add", "", nil), http("addFirst", "", nil)), first + "cluster.value: must not be empty\nconf.modifications[1].httpFilter.value: must not be empty"},
		{"value that is of no use", modify(cluster("remove", "x", nil)), first + "cluster.value: must be left out for remove"},
		{"match that is of no use", modify(cluster("add", "x", &mesh.ClusterMatch{})), first + "cluster.match: must be left out for add"},
		{"origin", modify(cluster("remove", "", &mesh.ClusterMatch{Origin: "inside"})), first + "cluster.match.origin: \"inside\" is not one of"},
		{"beside what", modify(http("addBefore", "x", nil), http("addAfter", "x", &mesh.FilterMatch{Origin: "inbound"}), http("patch", "x", nil)),
			first + "httpFilter.match.name: must be given for addBefore\nconf.modifications[1].httpFilter.match.name: must be given for addAfter\nconf.modifications[2].httpFilter.match.name: must be given for patch"},
		{"tags", modify(http("remove", "", &mesh.FilterMatch{ListenerTags: mesh.Tags{"a b": "c d"}})), first + "httpFilter.match.listenerTags[\"a b\"]: tag key\n" + first + "httpFilter.match.listenerTags[\"a b\"]: value must"},
		{"listener", modify(mesh.Modification{Listener: &mesh.ListenerModification{Operation: "add", Value: "x", Match: &mesh.ListenerMatch{Origin: "?", Tags: mesh.Tags{"a": ""}}}}),
			first + "listener.match: must be left out\n" + first + "listener.match.origin: \"?\" is not\n" + first + "listener.match.tags[\"a\"]: value must"},
		{"virtual host", modify(mesh.Modification{VirtualHost: &mesh.VirtualHostModification{Operation: "add", Match: &mesh.VirtualHostMatch{Name: "x", Origin: "?"}}}),
			first + "virtualHost.value: must not be empty\n" + first + "virtualHost.match.origin: \"?\" is not\n" + first + "virtualHost.match.name: must be left out for add"},
	} {
		t.Run(c.name, func(t *testing.T) { matchLines(t, c.spec.Validate(), c.want) })
	}
}

// TestNothingImportedStaysApart has an empty list survive being stored.
func TestNothingImportedStaysApart(t *testing.T) {
	doc, err := json.Marshal(mesh.ProxyTemplate{Conf: mesh.ProxyTemplateConf{Imports: &mesh.Profiles{}}})
	if err != nil {
		t.Fatal(err)
	}
	var back mesh.ProxyTemplate
	if err := json.Unmarshal(doc, &back); err != nil || back.Conf.Imports == nil {
		t.Errorf("%s came back as %+v, %v", doc, back, err)
	}
}
