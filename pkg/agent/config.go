// Package agent is one host's agent: it joins the host to a mesh, points its
// traffic at a local Envoy and keeps that Envoy supplied.
//
// The parts live in the folders beneath and never import each other; this
// package is where they meet.
package agent

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/weft-mesh/weft/pkg/envoy"
	"github.com/weft-mesh/weft/pkg/proxy"
	"github.com/weft-mesh/weft/pkg/redirect"
)

// Config is everything that can be set about an agent. The file that holds it
// is written by join; every path is a setting, so that several agents can live
// on one machine.
type Config struct {
	Mesh           string
	Name           string
	Service        string
	Port           uint16
	Protocol       string
	Gateway        bool
	Tags           map[string]string
	Address        string // "": the address from which the control plane is reached
	ServiceAddress string
	ControlPlanes  []string

	StateDir      string
	RunDir        string
	KeyStore      string // keysInFiles or keysInMemory
	JoinTokenFile string

	Envoy            string
	EnvoyConcurrency int
	EnvoyLogLevel    string
	EnvoyMemory      string // a size, or "0"
	EnvoyFiles       uint64
	EnvoyUser        string // name or number; "" is the usual one where it exists
	KeepEnvoy        bool
	ReadyPort        uint16

	ServiceProbe                               string // see health.Parse; "" is none
	ServiceProbeInterval, ServiceProbeTimeout  time.Duration
	ServiceProbeHealthy, ServiceProbeUnhealthy int

	DrainTime  time.Duration
	ChangeTime time.Duration

	Redirect        bool
	Outbounds       []string
	RedirectEngine  string
	RedirectTable   string
	RedirectCgroup  string // of the ebpf engine
	InboundPort     uint16
	OutboundPort    uint16
	DNSPort         uint16
	EnvoyDNSPort    uint16
	SystemRoots     string
	MetricsPort     uint16
	Scrape          []string
	MetricsCert     string
	MetricsKey      string
	ProbePort       uint16
	Probes          []string
	ResolvConf      string
	Only            []string // whose calls are redirected, see kinds
	Inbound         string   // inboundService or inboundAll
	InboundMethod   string
	Forwarded       []string // interfaces
	ExcludeOutbound []string
	ExcludeInbound  []string
	CaptureSSH      bool
	ShareMarks      bool
	Resolvers       []string
	FailOpen        time.Duration

	LogLevel  string
	LogFormat string

	// Workload is the name of a further workload on this host; "" for the one
	// at the top of the file.
	Workload string
	// inboundState is what the Dataplane says of the service; "" is nothing.
	inboundState string
	listed       bool      // it is of the file's list of workloads
	more         []*Config // that list
	flags        *pflag.FlagSet
	host         *pflag.FlagSet // of a listed one: the host's settings
}

// Bind makes a flag of every field, with its default. The flags' names are the
// file's keys too, see package settings.
func (c *Config) Bind(fs *pflag.FlagSet) {
	c.flags = fs
	fs.StringVar(&c.Mesh, "mesh", "", "mesh that this host is in; join has it from the token")
	fs.StringVar(&c.Name, "name", "", "name of the Dataplane; join makes it of service and host name")
	fs.StringVar(&c.Service, "service", "", "service that this host offers (kuma.io/service)")
	fs.Uint16Var(&c.Port, "port", 0, "port at which the service listens and is called; on a host that only calls, one where nothing listens")
	fs.StringVar(&c.Protocol, "protocol", proxy.TCP, "protocol of the service: tcp, http, http2, grpc, tls or kafka; callers are named in a header where it is http, http2 or grpc")
	fs.BoolVar(&c.Gateway, "gateway", false, "this host is a gateway: it takes calls from outside of the mesh by itself, at ports of its own, and calls services under the name of --service")
	fs.StringToStringVar(&c.Tags, "tag", nil, "further tags of the service, key=value")
	fs.StringVar(&c.Address, "address", "", "address at which others reach this host; default: the one that the control plane is reached from")
	fs.StringVar(&c.ServiceAddress, "service-address", "", "address at which the service itself listens; default: loopback")
	fs.StringSliceVar(&c.ControlPlanes, "control-plane", nil, "addresses of the control plane, host:port; join has them from the token")

	fs.StringVar(&c.StateDir, "state-dir", defaultStateDir, "folder of the host's keys and certificates, 0700")
	fs.StringVar(&c.RunDir, "run-dir", defaultRunDir, "folder of sockets and of Envoy's bootstrap, closed to others; where Envoy has a user of its own, 0711")

	fs.StringVar(&c.KeyStore, "key-store", keysInFiles, "where the host's private keys are: file, in the state folder; or memory, in the run folder, which must be a tmpfs: a reboot then takes them, and the host joins anew with the token of --join-token-file")
	fs.StringVar(&c.JoinTokenFile, "join-token-file", "", "file with a join token, its owner's alone, by which this host joins again when it has no certificate or an expired one; read anew each time")

	fs.StringVar(&c.Envoy, "envoy", "", "Envoy's binary; default: /usr/lib/weft/envoy, then the PATH")
	fs.IntVar(&c.EnvoyConcurrency, "envoy-concurrency", 0, "Envoy's worker threads; 0: one per core that its cgroup may use, at most 4")
	fs.StringVar(&c.EnvoyLogLevel, "envoy-log-level", "warning", "Envoy's log level: trace, debug, info, warning, error or off")
	fs.Uint16Var(&c.ReadyPort, "ready-port", 15020, "port on loopback at which /ready tells whether this host can be used; 0: none")
	fs.StringVar(&c.ServiceProbe, "service-probe", "", "how the service is asked whether peers may call it: tcp, http:/PATH, grpc or grpc:SERVICE; default: it is not, and they may")
	fs.DurationVar(&c.ServiceProbeInterval, "service-probe-interval", time.Second, "from one question to the next")
	fs.DurationVar(&c.ServiceProbeTimeout, "service-probe-timeout", 2*time.Second, "how long one answer may take")
	fs.IntVar(&c.ServiceProbeHealthy, "service-probe-healthy", 1, "good answers in a row until peers call it again")
	fs.IntVar(&c.ServiceProbeUnhealthy, "service-probe-unhealthy", 3, "bad answers in a row until they do not")
	fs.StringVar(&c.EnvoyMemory, "envoy-memory", "0", "most memory that Envoy may have, such as 512MiB: it sheds load before; 0: what its cgroup may have")
	fs.Uint64Var(&c.EnvoyFiles, "envoy-files", 0, "most files that Envoy may have open, one or two a connection; 0: as many as its hard limit says")
	fs.StringVar(&c.EnvoyUser, "envoy-user", "", "user whom Envoy runs as, by name or number, where the agent is root; default: "+usualEnvoyUser+" where that user exists, else root")
	fs.BoolVar(&c.KeepEnvoy, "keep-envoy", true, "let Envoy go on serving when the agent ends by SIGTERM, as for a restart or an upgrade; the next agent takes it back. With false it is drained and stopped then")
	fs.DurationVar(&c.DrainTime, "drain-time", 5*time.Second, "how long Envoy finishes what it has begun when it is stopped")
	fs.DurationVar(&c.ChangeTime, "change-time", 30*time.Second, "how long connections live on after a policy has changed how they are treated: HTTP ends after the answer that is under way, and what takes longer is cut then")

	fs.BoolVar(&c.Redirect, "redirect", canRedirect, "point the host's traffic at Envoy, on Linux; with false only explicit outbounds work, see outbound")
	fs.StringSliceVar(&c.Outbounds, "outbound", nil, "explicit outbounds: services that can be called at a port of this host, with or without redirection, [ADDRESS:]PORT=SERVICE, such as 10001=backend for 127.0.0.1:10001")
	fs.StringVar(&c.RedirectEngine, "redirect-engine", engineAuto, "how the host's network is changed: "+strings.Join(engineNames(), ", ")+"; auto takes nftables where the kernel has it, else iptables; ebpf is taken only by its name")
	fs.StringVar(&c.RedirectTable, "redirect-table", "weft", "name of what the agent owns in the kernel")
	fs.StringVar(&c.RedirectCgroup, "redirect-cgroup", "", "folder of the cgroup v2 tree whose processes the ebpf engine sees, this agent and Envoy among them, such as system.slice; default: all")
	fs.Uint16Var(&c.InboundPort, "inbound-port", 15006, "port of Envoy's transparent listener")
	fs.Uint16Var(&c.OutboundPort, "outbound-port", 15001, "port of Envoy's outbound listener")
	fs.Uint16Var(&c.MetricsPort, "metrics-port", 0, "port at which this host's proxy is scraped, where the mesh has metrics; 0: the mesh's")
	fs.StringSliceVar(&c.Scrape, "scrape", nil, "applications of this host whose metrics are joined to the proxy's, NAME=[ADDRESS:]PORT[/PATH], such as shop=9100/metrics")
	fs.Uint16Var(&c.ProbePort, "probe-port", 0, "port at which pages of the service can be had from outside of the mesh, see probes")
	fs.StringSliceVar(&c.Probes, "probes", nil, "those pages, PATH=PATH-OF-THE-SERVICE, such as /web/healthz=/healthz")
	fs.StringVar(&c.MetricsCert, "metrics-cert", "", "file of the certificate (PEM, leaf first) by which scrapers know this host, where the mesh has metrics with providedTLS")
	fs.StringVar(&c.MetricsKey, "metrics-key", "", "file of its key (PEM)")
	fs.StringVar(&c.SystemRoots, "system-roots", "", "file of the authorities (PEM) by which servers outside of the mesh are known; default: the host's own")
	fs.Uint16Var(&c.DNSPort, "dns-port", 15053, "port of the agent's DNS server, on loopback")
	fs.Uint16Var(&c.EnvoyDNSPort, "envoy-dns-port", 15054, "port at which Envoy asks the agent where hosts outside of the mesh are, on loopback")
	fs.StringVar(&c.ResolvConf, "resolv-conf", defaultResolvConf, "where the host's own DNS servers are read")
	fs.StringSliceVar(&c.Only, "only", nil, "whose calls and DNS queries are redirected, such as "+forms(owners)+"; default: everybody's")
	fs.StringSliceVar(&c.ExcludeOutbound, "exclude-outbound", nil, "what goes out directly, such as "+forms(kinds)+"; calls to services never do")
	fs.StringVar(&c.Inbound, "inbound", inboundService, "which ports are called through Envoy: service, the service's own; or all, where calls to any other port are refused unless excluded")
	fs.BoolVar(&c.CaptureSSH, "capture-ssh", false, "let Envoy take the ports of sshd and of a control plane on this host as well; you may lock yourself out")
	fs.BoolVar(&c.ShareMarks, "share-marks", false, "redirect though rules of others use the mark bits 0x3000, by which Weft tells its proxy")
	fs.StringVar(&c.InboundMethod, "inbound-method", string(redirect.Keep), "how calls get to Envoy: keep, with the port that was called, by which the host's own firewall goes on deciding; or rewrite, to the inbound port")
	fs.StringSliceVar(&c.ExcludeInbound, "exclude-inbound", nil, "what comes in directly, such as "+forms(places))
	fs.StringSliceVar(&c.Forwarded, "forwarded", nil, "interfaces of containers or VMs whose TCP connections through this host are redirected like its own, such as docker0 or br-*")
	fs.StringSliceVar(&c.Resolvers, "resolvers", usualResolvers, "the host's own resolvers, whose DNS queries are left alone, such as "+forms(owners)+"; of the usual ones, those that this host lacks are passed over")

	fs.DurationVar(&c.FailOpen, "fail-open", 0, "how long agent, Envoy or DNS may be unwell before outbound calls and DNS queries go out directly, from 1s to 1h; 0s: they never do, the host stays closed")

	fs.StringVar(&c.LogLevel, "log-level", "info", "debug, info, warn or error")
	fs.StringVar(&c.LogFormat, "log-format", "text", "text or json")
}

var namePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`)

// valid tells everything that is wrong with one workload's configuration.
func (c *Config) valid() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
	}
	if c.Mesh == "" {
		bad("mesh", "is not set; join the host first: weft-agent join TOKEN --service NAME --port PORT")
	}
	if !namePattern.MatchString(c.Name) || len(c.Name) > 253 {
		bad("name", "%q must be lower-case letters, digits, dashes and dots", c.Name)
	}
	if c.Service == "" {
		bad("service", "is not set; it is what others call this host by, such as --service web")
	}
	switch {
	case c.Gateway && c.Port != 0:
		bad("port", "is set, but a gateway takes calls by itself, at any port: leave it out, or leave out gateway")
	case c.Gateway && (c.Inbound == inboundAll || len(c.ExcludeInbound) > 0):
		bad("inbound", "is all, or has exclusions, but a gateway is called past Envoy: leave both out, or leave out gateway")
	case !c.Gateway && c.Port == 0:
		bad("port", "is not set; it is where the service listens, such as --port 8080. A host that only calls names one where nothing listens")
	}
	if !slices.Contains([]string{proxy.TCP, proxy.TLS, proxy.HTTP, proxy.HTTP2, proxy.GRPC, proxy.Kafka}, c.Protocol) {
		bad("protocol", "%q is none of tcp, tls, http, http2, grpc, kafka", c.Protocol)
	}
	if c.Address != "" {
		if a, err := netip.ParseAddr(c.Address); err != nil || a.IsUnspecified() || a.IsMulticast() {
			bad("address", "%q must be one IP address of this host", c.Address)
		}
	}
	if c.ServiceAddress != "" {
		if _, err := netip.ParseAddr(c.ServiceAddress); err != nil {
			bad("serviceAddress", "%q must be an IP address", c.ServiceAddress)
		}
	}
	if len(c.ControlPlanes) == 0 {
		bad("controlPlane", "is empty; join writes it")
	}
	for _, a := range c.ControlPlanes {
		if _, _, err := net.SplitHostPort(a); err != nil {
			bad("controlPlane", "%q must be host:port", a)
		}
	}
	for key, dir := range map[string]string{"stateDir": c.StateDir, "runDir": c.RunDir} {
		if !filepath.IsAbs(dir) {
			bad(key, "%q must be an absolute path", dir)
		}
	}
	if c.KeyStore != keysInFiles && c.KeyStore != keysInMemory {
		bad("keyStore", "%q is neither file nor memory", c.KeyStore)
	}
	if c.JoinTokenFile != "" && !filepath.IsAbs(c.JoinTokenFile) {
		bad("joinTokenFile", "%q must be an absolute path", c.JoinTokenFile)
	}
	// A unix socket's path has 108 bytes; the longest name beneath is 17.
	if len(c.RunDir) > 90 {
		bad("runDir", "is %d bytes long, and sockets beneath it may have 107: choose a shorter path", len(c.RunDir))
	}
	if !slices.Contains([]string{"trace", "debug", "info", "warning", "error", "off"}, c.EnvoyLogLevel) {
		bad("envoyLogLevel", "%q is none of trace, debug, info, warning, error, off", c.EnvoyLogLevel)
	}
	if names := engineNames(); !slices.Contains(names, c.RedirectEngine) {
		bad("redirectEngine", "%q is none of %s", c.RedirectEngine, strings.Join(names, ", "))
	}
	if c.RedirectCgroup != "" && !filepath.IsLocal(c.RedirectCgroup) {
		bad("redirectCgroup", "%q is no folder of the cgroup tree: write it from the tree's root, such as system.slice", c.RedirectCgroup)
	}
	if c.Redirect && !canRedirect {
		bad("redirect", "is true, but %s has no redirection that the agent could set up: leave it out, and name explicit outbounds, such as outbound: [10001=backend]", runtime.GOOS)
	}
	if _, err := c.outbounds(); err != nil {
		bad("outbound", "%s", err)
	}
	if c.Inbound != inboundService && c.Inbound != inboundAll {
		bad("inbound", "%q is neither service nor all", c.Inbound)
	}
	if _, err := c.serviceProbe(); err != nil {
		bad("serviceProbe", "%s", err)
	}
	if _, err := c.findEnvoyUser(); err != nil {
		bad("envoyUser", "%s", err)
	}
	if _, err := bytesOf(c.EnvoyMemory); err != nil {
		bad("envoyMemory", "%s", err)
	}
	if c.DrainTime < 0 || c.DrainTime > 10*time.Minute {
		bad("drainTime", "%s must be from 0s to 10m", c.DrainTime)
	}
	if c.ChangeTime < time.Second || c.ChangeTime > time.Hour {
		bad("changeTime", "%s must be from 1s to 1h", c.ChangeTime)
	}
	if (c.MetricsCert == "") != (c.MetricsKey == "") {
		bad("metricsCert", "needs metricsKey beside it, and the other way round")
	}
	if _, err := c.metrics(); err != nil {
		bad("scrape", "%s", err)
	}
	if _, err := c.probes(); err != nil {
		bad("probes", "%s", err)
	}
	ports := map[uint16]string{}
	for _, p := range c.ports() {
		if p.port == 0 {
			continue
		}
		if other, taken := ports[p.port]; taken {
			bad(p.key, "%d is %s too; each needs a port of its own", p.port, other)
		}
		ports[p.port] = p.key
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// A portOf is a port that a workload takes, and the setting that says so.
type portOf struct {
	key  string
	port uint16 // 0: none
}

func (c *Config) ports() []portOf {
	return []portOf{
		{"port", c.Port}, {"inboundPort", c.InboundPort}, {"outboundPort", c.OutboundPort}, {"dnsPort", c.DNSPort},
		{"envoyDnsPort", c.EnvoyDNSPort}, {"metricsPort", c.MetricsPort}, {"probePort", c.ProbePort},
	}
}

// systemRoots are the files of which the first that is there counts.
func (c *Config) systemRoots() []string {
	if c.SystemRoots != "" {
		return []string{c.SystemRoots}
	}
	return systemRoots
}

// Files of an agent.
func (c *Config) xdsSocket() string    { return filepath.Join(c.RunDir, "xds.sock") }
func (c *Config) adminSocket() string  { return filepath.Join(c.RunDir, envoy.Home, "admin.sock") }
func (c *Config) statusSocket() string { return filepath.Join(c.RunDir, "status.sock") }
func (c *Config) envoyFile() string    { return filepath.Join(c.StateDir, "envoy.json") }
func (c *Config) cacheDir() string     { return filepath.Join(c.StateDir, "xds") }

// canRedirect: there are engines for this system.
const canRedirect = runtime.GOOS == "linux"

// envoyBinary is the configured one, the packaged one, or what the PATH has.
func (c *Config) envoyBinary() string {
	if c.Envoy != "" {
		return c.Envoy
	}
	if _, err := os.Stat(packagedEnvoy); err == nil {
		return packagedEnvoy
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if p := filepath.Join(dir, envoyName); filepath.IsAbs(p) {
			if _, err := os.Stat(p); err == nil {
				return p
			}
		}
	}
	return packagedEnvoy // its absence is told with a remedy when it is checked
}
