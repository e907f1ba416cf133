package agent

import (
	"bytes"

	"github.com/spf13/pflag"

	"github.com/weft-mesh/weft/pkg/settings"
)

// Example is a file with every setting, its default and what it is for.
func Example() ([]byte, error) {
	var c Config
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	c.Bind(flags)
	text, err := settings.Example(flags, []settings.Section{
		{Words: exampleHead, Names: c.ownSettings()},
		{Words: exampleShared, Names: sharedSettings},
		{Words: exampleHost, Names: hostSettings},
	}, func(name string) string {
		if effects[name] == atRestart {
			return ""
		}
		return "A running agent follows a change."
	})
	return append(bytes.TrimSuffix(text, []byte("\n")), exampleMore...), err
}

const (
	exampleHead = "The configuration of weft-agent, as it is where nothing is set.\n" +
		"weft-agent join writes this file; weft-agent config --check tells what is wrong with it. " +
		"Environment (WEFT_DRAIN_TIME) and flags (--drain-time) go before it. " +
		"A running agent reads it again when it changes: what can change then says so, the rest waits for its next start.\n\n" +
		"What is one workload's own:"
	exampleShared = "What holds for every workload that does not say it itself:"
	exampleHost   = "What is the host's:"
	exampleMore   = `

# Further workloads of this host. Each has the settings of the first two parts,
# and a short name. weft-agent join TOKEN --workload db adds one, with ports that
# are free; weft-agent leave --workload db takes it out.
# workloads:
# - workload: db
#   mesh: default
#   name: db-1
#   service: db
#   port: 5432
#   only: [user:postgres]
#   outboundPort: 15101
#   inboundPort: 15106
#   dnsPort: 15153
#   envoyDnsPort: 15154
#   metricsPort: 15190
`
)
