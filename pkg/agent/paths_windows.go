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

// DefaultConfigFile is where join writes the configuration.
var DefaultConfigFile = filepath.Join(programData, "agent.yaml")
