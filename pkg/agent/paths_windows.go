package agent

import (
	"cmp"
	"os"
	"path/filepath"
)

// Where things are unless somebody says otherwise. Package keyfile makes the
// folder for administrators and the system alone, and what is in it has its
// access list.
var (
	programData = filepath.Join(cmp.Or(os.Getenv("ProgramData"), `C:\ProgramData`), "Weft")

	defaultStateDir   = filepath.Join(programData, "agent")
	defaultRunDir     = filepath.Join(programData, "run")
	defaultResolvConf = filepath.Join(programData, "resolv.conf")
	packagedEnvoy     = filepath.Join(cmp.Or(os.Getenv("ProgramFiles"), `C:\Program Files`), "Weft", "envoy.exe")
)

const envoyName = "envoy.exe"

// What a person does about an agent that does not run, or is to start again.
const (
	startIt   = "weft-agent service start, or weft-agent run, which says why it ends"
	restartIt = "weft-agent service stop, then start"
	itsLog    = "weft-agent run says why"
)

// DefaultConfigFile is where join writes the configuration.
var DefaultConfigFile = filepath.Join(programData, "agent.yaml")
