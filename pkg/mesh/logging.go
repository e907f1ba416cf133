package mesh

import (
	"net"
	"path"
	"strings"
)

// Logging names where access logs can go.
type Logging struct {
	DefaultBackend string           `json:"defaultBackend,omitempty"` // of TrafficLogs that name none
	Backends       []LoggingBackend `json:"backends,omitempty"`
}

// A LoggingBackend takes one line for each call.
type LoggingBackend struct {
	Name   string       `json:"name"`
	Format string       `json:"format,omitempty"` // see LogFormat; default: one for HTTP, one for TCP
	Type   string       `json:"type"`             // LogFile, LogTCP
	Conf   *LoggingConf `json:"conf,omitempty"`
}

// The types of a LoggingBackend.
const (
	LogFile = "file"
	LogTCP  = "tcp"
)

// A LoggingConf says where its backend is.
type LoggingConf struct {
	Path    string `json:"path,omitempty"`    // of LogFile: on the caller's host
	Address string `json:"address,omitempty"` // of LogTCP: host:port
}

// Backend finds a backend by name, "" for the default one. It is nil where
// there is no such one.
func (l *Logging) Backend(name string) *LoggingBackend {
	if l == nil {
		return nil
	}
	if name == "" {
		name = l.DefaultBackend
	}
	for i := range l.Backends {
		if l.Backends[i].Name == name {
			return &l.Backends[i]
		}
	}
	return nil
}

func (l *Logging) validate(path string) (v Violations) {
	if l == nil {
		return nil
	}
	names := backendNames{}
	for i := range l.Backends {
		b, at := &l.Backends[i], field(path, "backends", i)
		v = append(v, names.validate(at, b.Name)...)
		v = append(v, validateLogFormat(field(at, "format"), b.Format)...)
		v = append(v, b.validateConf(at)...)
	}
	return append(v, names.validateChosen(field(path, "defaultBackend"), l.DefaultBackend)...)
}

func (b *LoggingBackend) validateConf(at string) (v Violations) {
	conf := LoggingConf{}
	if b.Conf != nil {
		conf = *b.Conf
	}
	pathAt, addressAt := field(at, "conf.path"), field(at, "conf.address")
	switch b.Type {
	case LogFile:
		if !path.IsAbs(conf.Path) || strings.ContainsRune(conf.Path, 0) {
			v.Add(pathAt, `must be an absolute path on the hosts, as in "/var/log/weft/access.log"`)
		}
		v = append(v, foreign(addressAt, conf.Address != "", LogTCP)...)
	case LogTCP:
		v = append(v, foreign(pathAt, conf.Path != "", LogFile)...)
		v = append(v, validateHostPort(addressAt, conf.Address)...)
	case "":
		v.Add(field(at, "type"), "must not be empty; it is %s or %s", LogFile, LogTCP)
	default:
		v = append(v, oneOf(field(at, "type"), b.Type, LogFile, LogTCP)...)
	}
	return v
}

// foreign refuses a field that only another type of backend has.
func foreign(path string, set bool, of string) (v Violations) {
	if set {
		v.Add(path, "is of the type %s; leave it out", of)
	}
	return v
}

// validateHostPort wants host:port.
func validateHostPort(path, s string) (v Violations) {
	host, port, err := net.SplitHostPort(s)
	switch {
	case s == "":
		v.Add(path, `must not be empty; give host and port, as in "logs.example.com:5000"`)
	case err != nil || host == "":
		v.Add(path, `%q is not host:port, as in "logs.example.com:5000" or "[2001:db8::1]:5000"`, s)
	default:
		v = append(v, validateHost(path, host)...)
		v = append(v, validatePort(path, portNumber(port))...)
	}
	return v
}

// backendNames are the names of one list of backends.
type backendNames map[string]bool

func (n backendNames) validate(at, name string) (v Violations) {
	at = field(at, "name")
	switch {
	case name == "":
		v.Add(at, "must not be empty")
	case !tagValue.MatchString(name):
		v.Add(at, `must consist of letters, digits, ".", "_", ":" and "-"`)
	case n[name]:
		v.Add(at, "%q is the name of another backend already", name)
	}
	n[name] = true
	return v
}

// validateChosen accepts "" for none.
func (n backendNames) validateChosen(path, name string) (v Violations) {
	if name != "" && !n[name] {
		v.Add(path, "%q is not the name of any backend beside it", name)
	}
	return v
}
