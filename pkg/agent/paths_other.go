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

// What a person does about an agent that does not run, or is to start again.
const (
	startIt   = "systemctl start weft-agent, or weft-agent run; journalctl -u weft-agent says why it ended"
	restartIt = "systemctl restart weft-agent"
	itsLog    = "journalctl -u weft-agent may have its log"
)

// DefaultConfigFile is where join writes the configuration.
const DefaultConfigFile = "/etc/weft/agent.yaml"
