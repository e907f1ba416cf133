package mesh

import "encoding/json"

// A MeshAccessLog has proxies write a line for each call.
type MeshAccessLog struct {
	Spec BothWays[MeshAccessLogConf] `json:"spec"`
}

// A MeshAccessLogConf says where the lines go: to all of them.
type MeshAccessLogConf struct {
	Backends []AccessLogBackend `json:"backends,omitempty"`
}

// An AccessLogBackend is the one field that its type names.
type AccessLogBackend struct {
	Type          string         `json:"type,omitempty"` // Tcp, File, OpenTelemetry
	TCP           *TCPAccessLog  `json:"tcp,omitempty"`
	File          *FileAccessLog `json:"file,omitempty"`
	OpenTelemetry *OTelAccessLog `json:"openTelemetry,omitempty"`
}

// A TCPAccessLog sends lines to a collector.
type TCPAccessLog struct {
	Address string           `json:"address,omitempty"` // host:port
	Format  *AccessLogFormat `json:"format,omitempty"`
}

// A FileAccessLog appends lines to a file of the host.
type FileAccessLog struct {
	Path   string           `json:"path,omitempty"` // absolute
	Format *AccessLogFormat `json:"format,omitempty"`
}

// An OTelAccessLog sends records to a collector of OpenTelemetry.
type OTelAccessLog struct {
	Endpoint   string          `json:"endpoint,omitempty"`   // host:port; or backendRef
	BackendRef *OTelBackendRef `json:"backendRef,omitempty"` // a MeshOpenTelemetryBackend
	Attributes []KeyValue      `json:"attributes,omitempty"`
	Body       json.RawMessage `json:"body,omitempty"` // text with placeholders, or an object of OpenTelemetry's AnyValue
}

// An OTelBackendRef names a MeshOpenTelemetryBackend.
type OTelBackendRef struct {
	Kind   string `json:"kind,omitempty"` // MeshOpenTelemetryBackend
	Name   string `json:"name,omitempty"`
	Labels Tags   `json:"labels,omitempty"` // in place of name
}

// An AccessLogFormat is the one field that its type names.
type AccessLogFormat struct {
	Type            string     `json:"type,omitempty"` // Plain, Json
	Plain           string     `json:"plain,omitempty"`
	JSON            []KeyValue `json:"json,omitempty"`
	OmitEmptyValues *bool      `json:"omitEmptyValues,omitempty"` // default false
}

// A KeyValue is one field of a record; the value may have placeholders.
type KeyValue struct {
	Key   string `json:"key,omitempty"`
	Value string `json:"value,omitempty"`
}

// Validate tells everything that is wrong with it.
func (s *MeshAccessLog) Validate() (v Violations) { return nil }
