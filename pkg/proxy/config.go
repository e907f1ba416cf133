// Package proxy says in neutral words what one proxy must do: where it
// listens, whom it lets in, whom it calls and as whom.
//
// It knows neither Envoy nor the store nor any policy: cp/plan writes a Config,
// envoy/render turns it into Envoy's resources, people read it as YAML.
package proxy

import (
	"net/netip"
	"time"
)

// An ID names one proxy.
type ID struct {
	Mesh string `json:"mesh"`
	Name string `json:"name"`
}

func (id ID) String() string { return id.Mesh + "." + id.Name }

// Socket marks by which redirection tells the proxy's own connections from
// everybody else's. Two bits, clear of those that kube-proxy (0xc000), Cilium
// (0x0f00), Tailscale (0xff0000) and Istio (0x539) use.
const (
	MarkMask     uint32 = 0x3000
	MarkOutbound uint32 = 0x1000 // to other proxies and to the outside
	MarkInbound  uint32 = 0x2000 // to the workload
	MarkAgent    uint32 = 0x3000 // the agent: control plane and resolvers
)

// Protocols that a proxy treats in their own way; everything else is TCP.
const (
	TCP   = "tcp"
	TLS   = "tls"
	HTTP  = "http"
	HTTP2 = "http2"
	GRPC  = "grpc"
	Kafka = "kafka"
)

// IsHTTP tells of which protocols proxies understand single requests.
func IsHTTP(protocol string) bool { return protocol == HTTP || protocol == HTTP2 || protocol == GRPC }

// A Config is the whole plan of one proxy. Lists are sorted, so that equal
// plans are equal bytes.
type Config struct {
	ID          ID           `json:"id"`
	Identity    *Identity    `json:"identity,omitempty"`    // nil: the mesh has no mTLS
	Transparent *Transparent `json:"transparent,omitempty"` // nil: listeners bind their ports
	Inbounds    []Inbound    `json:"inbounds,omitempty"`
	Outbounds   []Outbound   `json:"outbounds,omitempty"`
	// Tags are what the proxy says of its workload to those that it calls by
	// HTTP: every tag of its inbounds or its gateway, each with its values, sorted.
	Tags map[string][]string `json:"tags,omitempty"`
	// Clusters are where the routes of the outbounds lead, each once.
	Clusters []Cluster `json:"clusters,omitempty"`
	Tracing  *Tracing  `json:"tracing,omitempty"`
	Metrics  *Metrics  `json:"metrics,omitempty"`
	Probes   *Probes   `json:"probes,omitempty"`
	Template *Template `json:"template,omitempty"`
	// Secrets are those that the clusters name and the mesh has, each once.
	Secrets []Secret `json:"secrets,omitempty"`
}

// Identity is what the proxy shows to its peers. The key and the certificate
// are the host's: a plan only names them.
type Identity struct {
	TrustDomain string   `json:"trustDomain"` // the mesh's name
	URIs        []string `json:"uris"`        // spiffe://<mesh>/<service>, kuma://<tag>/<value>
}

// Transparent says that the host's traffic is redirected to the proxy.
type Transparent struct {
	InboundPort  uint16 `json:"inboundPort"`
	OutboundPort uint16 `json:"outboundPort"`
	// Passthrough lets connections to unknown destinations out.
	Passthrough bool        `json:"passthrough"`
	AccessLogs  []AccessLog `json:"accessLogs,omitempty"` // of Passthrough
	// Family is the only address family of the host, IPv4 or IPv6; "" is both.
	Family string `json:"family,omitempty"`
	// Forwarded: what the host forwards for containers comes to OutboundPort, at
	// any of the host's addresses.
	Forwarded bool `json:"forwarded,omitempty"`
}

// The families of addresses.
const (
	IPv4 = "ipv4"
	IPv6 = "ipv6"
)

// Has tells whether the host has addresses of the family.
func (t Transparent) Has(family string) bool { return t.Family == "" || t.Family == family }

// An Inbound is one port of the workload.
type Inbound struct {
	Name     string            `json:"name"` // the port, unless its author named it
	Listen   netip.AddrPort    `json:"listen"`
	Workload netip.AddrPort    `json:"workload"` // where the workload itself listens
	Service  string            `json:"service"`
	Tags     map[string]string `json:"tags,omitempty"`
	Protocol string            `json:"protocol"`
	Access   Access            `json:"access"`
	// Faults all act on the calls that they are for.
	Faults []Fault `json:"faults,omitempty"`
	// Of RateLimits the first whose callers a call is from counts.
	RateLimits []RateLimit `json:"rateLimits,omitempty"`
	// Probe is how the host's agent asks the workload whether it can be called;
	// nil: not at all, or as the host's own configuration says.
	Probe *Probe `json:"probe,omitempty"`
}

// A Probe is a connection that is made to a workload again and again.
type Probe struct {
	Interval Duration `json:"interval"` // from one to the next
	Timeout  Duration `json:"timeout"`  // of one
	// Unhealthy is how many in vain in a row, and Healthy how many others, turn
	// the verdict.
	Unhealthy uint32 `json:"unhealthy"`
	Healthy   uint32 `json:"healthy"`
}

// ProbeMetadata is the key under which a workload's cluster tells its Probe to
// the agent. Envoy reads nothing there.
const ProbeMetadata = "weft.probe"

// How an inbound treats what is not mTLS.
const (
	Strict     = "strict"     // mTLS only
	Permissive = "permissive" // mTLS and plain side by side
	Plain      = "plain"      // the mesh has no mTLS
)

// Access says who may call an inbound.
type Access struct {
	Mode string `json:"mode"` // Strict, Permissive, Plain
	// Policy is the permission that decides; "" when none selects this inbound.
	Policy string `json:"policy,omitempty"`
	// Allow lists who may call; whom no entry matches is denied.
	Allow []Principal `json:"allow,omitempty"`
	// Why tells in words what was decided and what would change it.
	Why string `json:"why,omitempty"`
}

// A Principal matches the peers whose certificate carries all of its URIs. No
// URI matches every peer of the mesh.
type Principal struct {
	URIs []string `json:"uris,omitempty"`
}

// An Outbound is something that the workload calls under one name, at every
// address at which the workload knows it.
type Outbound struct {
	// Name is the service, and for a part of a service what its cluster is
	// called.
	Name     string            `json:"name"`
	Service  string            `json:"service"`
	Tags     map[string]string `json:"tags,omitempty"` // what is asked for, with the service
	Listen   []netip.AddrPort  `json:"listen"`
	Protocol string            `json:"protocol"` // of all that its routes lead to
	Routes   Routes            `json:"routes"`
	Timeouts Timeouts          `json:"timeouts,omitzero"`
	Retry    *Retry            `json:"retry,omitempty"`
	// RateLimit is kept on this side for what is outside of the mesh.
	RateLimit  *RateLimit  `json:"rateLimit,omitempty"`
	AccessLogs []AccessLog `json:"accessLogs,omitempty"`
}

// A Duration prints as people write it, "5s".
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// PeerTLS is how a proxy knows the peer that it calls.
type PeerTLS struct {
	PeerURI string `json:"peerURI"` // the SPIFFE id that the peer must show
	SNI     string `json:"sni"`
}

// Endpoints are where a cluster's members are. One value serves every proxy of
// the mesh, or of one of its zones.
type Endpoints struct {
	Cluster string     `json:"cluster"` // under which they travel: see EndpointsName
	Members []Endpoint `json:"members"` // sorted by address
}

// EndpointsName is under which name the endpoints of a cluster travel as they
// are seen from a zone; "" is from everywhere alike. No cluster has "@" in it.
func EndpointsName(cluster, zone string) string {
	if zone == "" {
		return cluster
	}
	return cluster + "@" + zone
}

// An Endpoint is one member of a cluster.
type Endpoint struct {
	Address netip.AddrPort    `json:"address"`
	Tags    map[string]string `json:"tags,omitempty"` // without kuma.io/service
	Zone    string            `json:"zone,omitempty"`
	// Priority 0 is called as long as enough of its members are well.
	Priority uint32 `json:"priority,omitempty"`
}

// A Name is one name that the agent's DNS answers, for all proxies of a mesh.
type Name struct {
	Name      string       `json:"name"` // "api.mesh", no dot at the end
	Addresses []netip.Addr `json:"addresses"`
	Ports     []uint16     `json:"ports,omitempty"` // at which it is called, sorted; none: VIPPort
}

// Where the addresses of services come from: one IPv4 and one IPv6 address a
// service, on port 80. Neither range is routed on the internet.
var (
	VIP4 = netip.MustParsePrefix("240.0.0.0/4")
	VIP6 = netip.MustParsePrefix("fd57:6566:7400::/64")
)

// VIPPort is the port at which every service of the mesh answers on its VIPs.
const VIPPort = 80

// Domain ends the names of services: "api" is "api.mesh".
const Domain = "mesh"

// SDSCluster is the cluster of the bootstrap from which Envoy has its
// certificates: the agent. A bare Envoy brings a cluster of that name itself.
const SDSCluster = "weft_sds"

// IdentitySecret is the SDS name of a mesh's workload certificate.
func IdentitySecret(mesh string) string { return "identity_cert:secret:" + mesh }

// RootsSecret is the SDS name of the authorities that a mesh trusts.
func RootsSecret(mesh string) string { return "mesh_ca:secret:" + mesh }
