package mesh

import (
	"strconv"
	"strings"
)

// A MeshGateway says at which ports the gateways that its selectors pick take
// traffic from outside.
type MeshGateway struct {
	Selectors []Selector       `json:"selectors,omitempty"`
	Tags      Tags             `json:"tags,omitempty"` // of all listeners
	Conf      *MeshGatewayConf `json:"conf,omitempty"`
}

// MeshGatewayConf is what it listens for.
type MeshGatewayConf struct {
	Listeners []GatewayListener `json:"listeners,omitempty"`
}

// A GatewayListener is one host name at one port.
type GatewayListener struct {
	Hostname  string            `json:"hostname,omitempty"` // "*.example.com"; none: all
	Port      uint32            `json:"port,omitempty"`
	Protocol  string            `json:"protocol,omitempty"` // HTTP, HTTPS, TCP, TLS
	TLS       *GatewayTLS       `json:"tls,omitempty"`
	Tags      Tags              `json:"tags,omitempty"`      // what routes select it by
	CrossMesh bool              `json:"crossMesh,omitempty"` // for callers of other meshes
	Resources *GatewayResources `json:"resources,omitempty"`
}

// GatewayTLS is how TLS is taken.
type GatewayTLS struct {
	Mode         string       `json:"mode,omitempty"`         // TERMINATE, PASSTHROUGH
	Certificates []DataSource `json:"certificates,omitempty"` // one, or two of different keys
	Options      *struct{}    `json:"options,omitempty"`
}

// GatewayResources bound what a listener takes.
type GatewayResources struct {
	ConnectionLimit uint32 `json:"connectionLimit,omitempty"` // connections at once
}

// Validate tells everything that is wrong with it.
func (s *MeshGateway) Validate() (v Violations) {
	v = append(v, validateGatewaySelectors(s.Selectors)...)
	for _, k := range sortedKeys(s.Tags) {
		if strings.HasPrefix(k, "kuma.io/") {
			v.Add(keyed("tags", k), "must be left out: tags of the mesh are those of the dataplane")
		}
	}
	v = append(v, validateTags("tags", s.Tags, false)...)
	if s.Conf == nil || len(s.Conf.Listeners) == 0 {
		v.Add("conf.listeners", "must have at least one listener")
		return v
	}
	seen := map[uint32]*GatewayListener{} // the first at each port
	hosts := map[string]bool{}
	for i := range s.Conf.Listeners {
		l, at := &s.Conf.Listeners[i], field("conf.listeners", i)
		v = append(v, l.validate(at)...)
		if l.CrossMesh && len(s.Selectors) > 1 {
			v.Add(field(at, "crossMesh"), "must be false where there is more than one selector")
		}
		host := strconv.FormatUint(uint64(l.Port), 10) + " " + l.Hostname
		if hosts[host] {
			v.Add(field(at, "hostname"), "another listener at port %d has the same", l.Port)
		}
		hosts[host] = true
		first := seen[l.Port]
		if first == nil {
			seen[l.Port] = l
			continue
		}
		if first.Protocol != l.Protocol {
			v.Add(field(at, "protocol"), "must be %s, as for the first listener at port %d", first.Protocol, l.Port)
		}
		if limit(first) != limit(l) {
			v.Add(field(at, "resources.connectionLimit"), "must be the same for all listeners at port %d", l.Port)
		}
	}
	return v
}

func limit(l *GatewayListener) uint32 {
	if l.Resources == nil {
		return 0
	}
	return l.Resources.ConnectionLimit
}

func (l *GatewayListener) validate(path string) (v Violations) {
	v = append(v, validateHostname(field(path, "hostname"), l.Hostname)...)
	v = append(v, validatePort(field(path, "port"), l.Port)...)
	v = append(v, listed(field(path, "protocol"), l.Protocol, []string{"HTTP", "HTTPS", "TCP", "TLS"})...)
	v = append(v, validateTags(field(path, "tags"), l.Tags, false)...)
	if l.CrossMesh && l.Protocol != "HTTP" {
		v.Add(field(path, "protocol"), "must be HTTP for crossMesh")
	}
	t, at := l.TLS, field(path, "tls")
	switch {
	case l.CrossMesh && t != nil:
		v.Add(at, "must be left out for crossMesh: the mesh secures it")
	case l.Protocol == "HTTPS" && t == nil:
		v.Add(at, "must be given for HTTPS, as in {mode: TERMINATE, certificates: [{secret: gateway}]}")
	}
	if t == nil {
		return v
	}
	v = append(v, oneOf(field(at, "mode"), t.Mode, "TERMINATE", "PASSTHROUGH")...)
	if l.Protocol == "HTTPS" && t.Mode == "PASSTHROUGH" {
		v.Add(field(at, "mode"), "must be TERMINATE for HTTPS; the protocol TLS passes through")
	}
	switch n := len(t.Certificates); {
	case t.Mode == "PASSTHROUGH" && n > 0:
		v.Add(field(at, "certificates"), "must be left out for PASSTHROUGH")
	case t.Mode != "PASSTHROUGH" && (n < 1 || n > 2):
		v.Add(field(at, "certificates"), "must be one, or two of different kinds of key; are %d", n)
	}
	for i := range t.Certificates {
		v = append(v, t.Certificates[i].validate(field(at, "certificates", i))...)
	}
	return v
}

// validateGatewaySelectors wants the service of the gateway's dataplanes.
func validateGatewaySelectors(selectors []Selector) (v Violations) {
	v = append(v, validateSelectors("selectors", selectors)...)
	for i, s := range selectors {
		if _, ok := s.Match[ServiceTag]; !ok && len(s.Match) > 0 {
			v.Add(keyed(field("selectors", i, "match"), ServiceTag), `tag has to exist; "*" means any service`)
		}
	}
	return v
}
