package mesh

import (
	"net/netip"
	"strings"
)

// A MeshPassthrough says what of the world outside proxies let through.
type MeshPassthrough struct {
	Spec Whole[MeshPassthroughConf] `json:"spec"`
}

// A MeshPassthroughConf lets all, none, or what matches through.
type MeshPassthroughConf struct {
	PassthroughMode string             `json:"passthroughMode,omitempty"` // All, Matched (default), None
	AppendMatch     []PassthroughMatch `json:"appendMatch,omitempty"`
}

// A PassthroughMatch is a destination outside.
type PassthroughMatch struct {
	Type     string  `json:"type,omitempty"`     // Domain, IP, CIDR
	Value    string  `json:"value,omitempty"`    // a domain may begin with "*."
	Port     *uint32 `json:"port,omitempty"`     // none: every port
	Protocol string  `json:"protocol,omitempty"` // tcp (default), tls, http, http2, grpc, mysql
}

// Validate tells everything that is wrong with it.
func (s *MeshPassthrough) Validate() (v Violations) {
	return s.Spec.validate(refs{top: ownProxies}, func(path string, c *MeshPassthroughConf) (v Violations) {
		v = append(v, oneOf(field(path, "passthroughMode"), c.PassthroughMode, "All", "Matched", "None")...)
		for i := range c.AppendMatch {
			v = append(v, c.AppendMatch[i].validate(field(path, "appendMatch", i))...)
		}
		return v
	})
}

func (m *PassthroughMatch) validate(path string) (v Violations) {
	v = append(v, listed(field(path, "type"), m.Type, []string{"Domain", "IP", "CIDR"})...)
	at := field(path, "value")
	switch m.Type {
	case "Domain":
		v = append(v, notEmpty(at, m.Value)...)
		v = append(v, validateHostname(at, m.Value)...)
		wildcard := strings.HasPrefix(m.Value, Any)
		switch {
		case m.Value == Any:
			v.Add(at, `must be more than "*"; passthroughMode: All lets everything through`)
		case wildcard && (m.Protocol == "" || m.Protocol == "tcp" || m.Protocol == "mysql"):
			v.Add(field(path, "protocol"), "must be tls, http, http2 or grpc for a domain with \"*\": others do not tell their host")
		}
	case "IP":
		if _, err := netip.ParseAddr(m.Value); err != nil {
			v.Add(at, "%.80q is not an IP address", m.Value)
		}
	case "CIDR":
		if _, err := netip.ParsePrefix(m.Value); err != nil {
			v.Add(at, "%.80q is not a network as in 192.0.2.0/24", m.Value)
		}
	}
	if m.Port != nil {
		v = append(v, validatePort(field(path, "port"), *m.Port)...)
	}
	v = append(v, oneOf(field(path, "protocol"), m.Protocol, "tcp", "tls", "http", "http2", "grpc", "mysql")...)
	if m.Protocol == "mysql" && m.Port == nil {
		v.Add(field(path, "port"), "must be given for mysql, whose server speaks first")
	}
	return v
}
