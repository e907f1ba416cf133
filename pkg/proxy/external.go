package proxy

// External is a cluster's members outside of the mesh. Unlike others they stand
// in the plan, and what they are called as is not a mesh's identity.
type External struct {
	Members []ExternalMember `json:"members,omitempty"` // sorted by From
	// Family is the only family of addresses that names are looked up for, ""
	// is both; of those IPv4 comes first unless IPv6First says otherwise.
	Family    string `json:"family,omitempty"`
	IPv6First bool   `json:"ipv6First,omitempty"`
	// Without tells in words which members are not called, and why.
	Without []string `json:"without,omitempty"`
}

// An ExternalMember is one server outside of the mesh.
type ExternalMember struct {
	From Origin            `json:"from"`
	Host string            `json:"host"` // an IP address or a DNS name
	Port uint16            `json:"port"`
	Tags map[string]string `json:"tags,omitempty"` // without kuma.io/service
	Zone string            `json:"zone,omitempty"`
	// Priority 0 is called as long as enough of its members are well.
	Priority uint32     `json:"priority,omitempty"`
	TLS      *ServerTLS `json:"tls,omitempty"` // nil: as the workload speaks
}

// ServerTLS is how a proxy knows a server that it speaks TLS with for its
// workload, and what it shows of itself. Secrets are named, see Secret.
type ServerTLS struct {
	SNI  string `json:"sni,omitempty"`
	Name string `json:"name,omitempty"` // the certificate must carry it, a DNS name or an IP address; "": any will do
	// Roots are the authorities that the certificate must be of; never "".
	Roots       string `json:"roots"`
	Certificate string `json:"certificate,omitempty"` // shown where the server asks for one
	// Renegotiation lets the server begin the handshake again, up to TLS 1.2.
	Renegotiation bool `json:"renegotiation,omitempty"`
}

// SystemRoots is the SDS name of the authorities that the proxy's own host
// trusts. Like the workload's certificate they come from the agent.
const SystemRoots = "system_ca"

// A Secret is what a proxy gets apart from its plan, under a name: authorities,
// or a certificate with its key. A plan says where it is, never what it is.
type Secret struct {
	Name        string  `json:"name"`
	From        Origin  `json:"from"`
	Roots       *Source `json:"roots,omitempty"`
	Certificate *Source `json:"certificate,omitempty"`
	Key         *Source `json:"key,omitempty"` // with Certificate
}

// A Source is where bytes are: one of the first three fields is set.
type Source struct {
	Secret string `json:"secret,omitempty"` // a Secret of the mesh
	File   string `json:"file,omitempty"`   // on the control plane's machine
	Field  string `json:"field,omitempty"`  // of the resource that Secret.From names
	// Version differs when the bytes do.
	Version string `json:"version"`
}
