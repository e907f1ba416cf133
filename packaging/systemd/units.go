// Package systemd holds the units that the packages install, for who installs
// them without a package.
package systemd

import _ "embed" // of units

// Agent is the unit of weft-agent.
//
//go:embed weft-agent.service
var Agent string
