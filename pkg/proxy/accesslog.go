package proxy

// An AccessLog gets a line for every request, and where the proxy does not
// look into connections for every connection. The agent writes the lines to
// File or sends them to TCP.
type AccessLog struct {
	From    Origin `json:"from,omitzero"`
	Backend string `json:"backend"` // of the mesh's logging
	// Format is the line, or several, without the end of the last: text and
	// the proxy's own commands between percent signs.
	Format string `json:"format"`
	File   string `json:"file,omitempty"` // a path on the host
	TCP    string `json:"tcp,omitempty"`  // host:port
}

// Sink is how proxy and agent name where lines go.
func (l AccessLog) Sink() string {
	if l.File != "" {
		return LogFile + l.File
	}
	return LogTCP + l.TCP
}

// What a sink's name begins with.
const (
	LogFile = "file:"
	LogTCP  = "tcp:"
)

// LogSinkAttribute is the attribute of OTLP log records that names their sink.
const LogSinkAttribute = "weft.sink"
