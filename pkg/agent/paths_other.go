//go:build !windows

package agent

// Where things are unless somebody says otherwise.
const (
	defaultStateDir   = "/var/lib/weft-agent"
	defaultRunDir     = "/run/weft-agent"
	defaultResolvConf = "/etc/resolv.conf"
	packagedEnvoy     = "/usr/lib/weft/envoy"
	envoyName         = "envoy"
)

// DefaultConfigFile is where join writes the configuration.
const DefaultConfigFile = "/etc/weft/agent.yaml"
