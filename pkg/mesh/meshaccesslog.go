package mesh

import (
	"encoding/json"
	"path/filepath"
)

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
func (s *MeshAccessLog) Validate() (v Violations) {
	return s.Spec.validate(refs{top: chosenOrGateway, to: calledOrRoute, from: wholeMesh}, func(path string, c *MeshAccessLogConf) (v Violations) {
		for i := range c.Backends {
			v = append(v, c.Backends[i].validate(field(path, "backends", i))...)
		}
		return v
	})
}

func (b *AccessLogBackend) validate(path string) (v Violations) {
	v = append(v, oneByType(path, b.Type, []part{
		{"Tcp", "tcp", b.TCP != nil, true},
		{"File", "file", b.File != nil, true},
		{"OpenTelemetry", "openTelemetry", b.OpenTelemetry != nil, true},
	})...)
	if t := b.TCP; t != nil {
		v = append(v, validateHostPort(field(path, "tcp.address"), t.Address)...)
		v = append(v, t.Format.validate(field(path, "tcp.format"))...)
	}
	if f := b.File; f != nil {
		at := field(path, "file.path")
		if !filepath.IsAbs(f.Path) {
			v.Add(at, "must be an absolute path on the proxy's host, as in /var/log/mesh.log")
		}
		v = append(v, validateHeaderValue(at, f.Path)...)
		v = append(v, f.Format.validate(field(path, "file.format"))...)
	}
	if o, at := b.OpenTelemetry, field(path, "openTelemetry"); o != nil {
		v = append(v, validateCollector(at, o.Endpoint, o.BackendRef)...)
		for i, a := range o.Attributes {
			v = append(v, notEmpty(field(at, "attributes", i, "key"), a.Key)...)
			v = append(v, validateLogFormat(field(at, "attributes", i, "value"), a.Value)...)
		}
	}
	return v
}

func (f *AccessLogFormat) validate(path string) (v Violations) {
	if f == nil {
		return nil
	}
	v = append(v, oneByType(path, f.Type, []part{
		{"Plain", "plain", f.Plain != "", true},
		{"Json", "json", len(f.JSON) > 0, true},
	})...)
	v = append(v, validateLogFormat(field(path, "plain"), f.Plain)...)
	for i, kv := range f.JSON {
		v = append(v, notEmpty(field(path, "json", i, "key"), kv.Key)...)
		v = append(v, notEmpty(field(path, "json", i, "value"), kv.Value)...)
		v = append(v, validateLogFormat(field(path, "json", i, "value"), kv.Value)...)
	}
	return v
}

// validateCollector wants an endpoint or a MeshOpenTelemetryBackend.
func validateCollector(path, endpoint string, ref *OTelBackendRef) (v Violations) {
	v = append(v, exactlyOne(path, map[string]bool{"endpoint": endpoint != "", "backendRef": ref != nil})...)
	if endpoint != "" {
		v = append(v, validateHostPort(field(path, "endpoint"), endpoint)...)
	}
	if ref == nil {
		return v
	}
	at := field(path, "backendRef")
	v = append(v, listed(field(at, "kind"), ref.Kind, []string{"MeshOpenTelemetryBackend"})...)
	v = append(v, exactlyOne(at, map[string]bool{"name": ref.Name != "", "labels": len(ref.Labels) > 0})...)
	return append(v, validateMatchLabels(field(at, "labels"), ref.Labels)...)
}
