package proxy

// Names beneath ProbeLabel of the mesh's domain are for probes of the
// redirection: "<token>.weft-probe.mesh" has a TXT record, ProbeAnswer and the
// token, wherever there is an agent, and nowhere else.
const (
	ProbeLabel  = "weft-probe"
	ProbeAnswer = "weft-agent "
)
