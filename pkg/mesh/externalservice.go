package mesh

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// An ExternalService is something outside of the mesh that its workloads call
// as if it were in it. Several with one kuma.io/service share its calls.
type ExternalService struct {
	Networking ExternalNetworking `json:"networking"`
	Tags       Tags               `json:"tags,omitempty"`
}

// ExternalNetworking says where an ExternalService is and how it is called.
type ExternalNetworking struct {
	Address string       `json:"address"` // host:port, an IP address or a DNS name
	TLS     *ExternalTLS `json:"tls,omitempty"`
	// DisableHostDNSEntry leaves the host's own name alone. Otherwise it is
	// answered with a virtual address, so that calls to it go this way.
	DisableHostDNSEntry bool `json:"disableHostDNSEntry,omitempty"`
}

// ExternalTLS is how a proxy speaks TLS for a workload that calls in plain.
type ExternalTLS struct {
	Enabled bool `json:"enabled,omitempty"`
	// CACert are the authorities that the server's certificate must be of;
	// without, those that the host's system trusts.
	CACert     *DataSource `json:"caCert,omitempty"`
	ClientCert *DataSource `json:"clientCert,omitempty"` // with ClientKey
	ClientKey  *DataSource `json:"clientKey,omitempty"`
	// ServerName is sent (SNI) and looked for in the certificate in place of
	// the address's host.
	ServerName               *string `json:"serverName,omitempty"`
	AllowRenegotiation       bool    `json:"allowRenegotiation,omitempty"`
	SkipHostnameVerification bool    `json:"skipHostnameVerification,omitempty"`
}

// Validate tells everything that is wrong with it.
func (s *ExternalService) Validate() (v Violations) {
	const at = "networking.address"
	host, _, err := net.SplitHostPort(s.Networking.Address)
	switch port := s.Port(); {
	case s.Networking.Address == "":
		v.Add(at, `must not be empty; give host and port, as in "api.example.com:443"`)
	case err != nil || host == "":
		v.Add(at, `%q is not host:port, as in "api.example.com:443" or "[2001:db8::1]:443"`, s.Networking.Address)
	case strings.HasSuffix(s.Host(), ".mesh"):
		v.Add(at, "%q must not end in .mesh: those names are the mesh's own, and nobody outside knows them", host)
	default:
		v = append(v, validateHost(at, host)...)
		v = append(v, validatePort(at, port)...)
	}
	v = append(v, s.Networking.TLS.validate("networking.tls")...)
	v = append(v, validateTags("tags", s.Tags, true)...)
	if service := s.Tags.Service(); service != "" && strings.EqualFold(service, s.Host()) {
		v.Add(keyed("tags", ServiceTag), "must not be the host of networking.address: the service is called by a name of its own, <service>.mesh")
	}
	return v
}

func (t *ExternalTLS) validate(path string) (v Violations) {
	if t == nil {
		return nil
	}
	v = append(v, t.CACert.validate(field(path, "caCert"))...)
	v = append(v, t.ClientCert.validate(field(path, "clientCert"))...)
	v = append(v, t.ClientKey.validate(field(path, "clientKey"))...)
	switch {
	case t.ClientCert != nil && t.ClientKey == nil:
		v.Add(field(path, "clientKey"), "must be given with clientCert")
	case t.ClientCert == nil && t.ClientKey != nil:
		v.Add(field(path, "clientCert"), "must be given with clientKey")
	}
	if t.ServerName != nil {
		if name := *t.ServerName; name == "" {
			v.Add(field(path, "serverName"), "must not be empty; leave it out to use the host of networking.address")
		} else {
			v = append(v, validateHost(field(path, "serverName"), name)...)
		}
	}
	return v
}

// Host is the host of its address, an IP address or a DNS name without a dot
// at the end, in lower case; "" where the address is none.
func (s *ExternalService) Host() string {
	host, _, err := net.SplitHostPort(s.Networking.Address)
	if err != nil {
		return ""
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().String()
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// Port is the port of its address, 0 where the address has none.
func (s *ExternalService) Port() uint32 {
	_, port, err := net.SplitHostPort(s.Networking.Address)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(port, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// HostName is the DNS name that is to be answered with a virtual address, ""
// where none is.
func (s *ExternalService) HostName() string {
	host := s.Host()
	if _, err := netip.ParseAddr(host); err == nil || s.Networking.DisableHostDNSEntry {
		return ""
	}
	return host
}

// Protocol is what it speaks, in lower case.
func (s *ExternalService) Protocol() string {
	if p := s.Tags[ProtocolTag]; p != "" {
		return strings.ToLower(p)
	}
	return "tcp"
}

// A Source is a DataSource of a resource, and the field in which it stands.
type Source struct {
	Field string
	*DataSource
}

// Sources are all that it names, in a fixed order.
func (s *ExternalService) Sources() (all []Source) {
	t := s.Networking.TLS
	if t == nil || !t.Enabled {
		return nil
	}
	for _, src := range []Source{
		{"networking.tls.caCert", t.CACert}, {"networking.tls.clientCert", t.ClientCert}, {"networking.tls.clientKey", t.ClientKey},
	} {
		if src.DataSource != nil {
			all = append(all, src)
		}
	}
	return all
}
