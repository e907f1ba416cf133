// Package cp composes the control plane: it makes the stages, joins them and
// serves them on its ports.
package cp

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/weft-mesh/weft/pkg/cp/admission"
	"github.com/weft-mesh/weft/pkg/cp/rest"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/settings"
)

// Config is everything that can be set about a control plane.
type Config struct {
	DataDir string

	Store        string
	StoreDSN     Secret
	StoreTLSCA   string
	StoreTLSCert string
	StoreTLSKey  string

	HostsAddress       string
	APIAddress         string
	APITLSAddress      string
	APISocket          string
	APIReadOnly        bool
	APIBasePath        string
	APIOrigins         []string
	DiagnosticsAddress string
	DebugProfiles      bool
	Advertise          []string
	Peers              []string

	Zone          string
	ResourceFiles string

	DPAuth           string
	LocalhostIsAdmin bool

	CARotateByHand bool
	SecretsKey     string
	AuditLog       string

	Access          map[string]*rest.Subjects // by the name of the list
	TokenPublicKeys []string
	TokenIssuersOff []string
	APIClientCerts  string

	LogLevel  string
	LogFormat string
}

// Where resources are kept.
const (
	StoreSQLite   = "sqlite"
	StorePostgres = "postgres"
	StoreMemory   = "memory"
)

// A Secret is a setting that is shown to nobody.
type Secret string

// MarshalText implements encoding.TextMarshaler.
func (s Secret) MarshalText() ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	return []byte("*****"), nil
}

// How dataplanes that bring no certificate are known.
const (
	DPAuthToken = "token"
	DPAuthNone  = "none"
)

// Bind makes a flag of every field, with its default. The flags' names are the
// file's keys too, see package settings.
func (c *Config) Bind(fs *pflag.FlagSet) {
	fs.StringVar(&c.DataDir, "data-dir", "/var/lib/weft-cp", "folder of the database, the control plane's keys and the admin token, 0700")
	fs.StringVar(&c.Store, "store", StoreSQLite, `where resources are kept: "sqlite", a file in the data directory; "postgres", which several replicas share; "memory", until the end of the process`)
	fs.StringVar((*string)(&c.StoreDSN), "store-dsn", "", "PostgreSQL's address, a URL or keywords as libpq reads them; better in the file or WEFT_STORE_DSN than on the command line, where others see its password")
	fs.StringVar(&c.StoreTLSCA, "store-tls-ca", "", "file of the authorities by which PostgreSQL is known; it is verified by name")
	fs.StringVar(&c.StoreTLSCert, "store-tls-cert", "", "file of the certificate that is shown to PostgreSQL")
	fs.StringVar(&c.StoreTLSKey, "store-tls-key", "", "file of that certificate's key")
	fs.StringVar(&c.HostsAddress, "hosts-address", ":5678", "where agents and proxies connect (gRPC over TLS)")
	fs.StringVar(&c.APIAddress, "api-address", "127.0.0.1:5681", `where the REST API answers over HTTP; "" turns it off`)
	fs.StringVar(&c.APITLSAddress, "api-tls-address", ":5682", `where the REST API answers over HTTPS; "" turns it off`)
	fs.StringVar(&c.APISocket, "api-socket", "/run/weft-cp/api.sock", "unix socket of the REST API, for root on this machine, who needs no token there")
	fs.BoolVar(&c.APIReadOnly, "api-read-only", false, "refuse every PUT and DELETE of the REST API; tokens are issued all the same")
	fs.StringVar(&c.APIBasePath, "api-base-path", "/", "path below which the REST API answers over HTTP and HTTPS, for a proxy in front of it; the unix socket has none")
	fs.StringSliceVar(&c.APIOrigins, "api-origins", nil, "origins whose pages browsers let read the REST API (CORS), as regular expressions that match the whole of https://host:port; none by default")
	fs.StringVar(&c.DiagnosticsAddress, "diagnostics-address", "127.0.0.1:5680", `where /healthy, /ready and /metrics answer over HTTP; "" turns it off`)
	fs.BoolVar(&c.DebugProfiles, "debug-profiles", false, "answer Go's profiles at /debug/pprof of the diagnostics address; they show what is in memory, secrets too")
	fs.StringSliceVar(&c.Advertise, "advertise", nil, "names and addresses at which hosts reach this control plane, host or host:port; default: this machine's addresses")
	fs.StringSliceVar(&c.Peers, "peers", nil, "host:port of further control planes on the same store, which hosts are told of and turn to when this one goes away")
	fs.StringVar(&c.Zone, "zone", admission.DefaultZone, "zone of the dataplanes of this control plane, their tag kuma.io/zone")
	fs.StringVar(&c.ResourceFiles, "resource-files", "", "folder of this machine in which resources may name files (certificates of an ExternalService); none by default")
	fs.StringVar(&c.DPAuth, "dp-auth", DPAuthToken, `how dataplanes without an agent are known: "token", or "none" for load tests`)
	fs.BoolVar(&c.LocalhostIsAdmin, "localhost-is-admin", false, "let anybody on this machine administrate over plain HTTP on loopback, as Kuma does")
	fs.BoolVar(&c.CARotateByHand, "ca-rotate-by-hand", false, "leave it to `weftctl ca rotate` to exchange a mesh's builtin authority; otherwise it is exchanged when two thirds of its life are over")
	fs.StringSliceVar(&c.TokenPublicKeys, "token-public-keys", nil, "keys of tokens that are signed elsewhere: dataplane:MESH:KID=FILE, zone:KID=FILE or user:KID=FILE")
	fs.StringSliceVar(&c.TokenIssuersOff, "token-issuers-off", nil, "kinds of tokens that only --token-public-keys verify, and that are not made here: dataplane, zone, user")
	fs.StringVar(&c.APIClientCerts, "api-client-certs", "", "folder of certificates, *.pem and *.crt, by which people are administrators on HTTPS; none by default")
	fs.StringVar(&c.SecretsKey, "secrets-key", "", "file of the key that secrets are encrypted by in the store, made at the first start; default: secrets.key in the data directory")
	fs.StringVar(&c.AuditLog, "audit-log", "", `file of the audit log, one line of JSON for every write and every refusal of one; "-": this program's own log; default: audit/audit.jsonl in the data directory`)
	c.bindAccess(fs)
	fs.StringVar(&c.LogLevel, "log-level", "info", "debug, info, warn or error")
	fs.StringVar(&c.LogFormat, "log-format", "text", "text or json")
}

// MarshalJSON shows what is in force, by the keys of the configuration's file.
func (c Config) MarshalJSON() ([]byte, error) {
	var shown Config
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	shown.Bind(fs)
	lists := shown.Access
	shown = c // the flags are the fields', whatever these are
	for name, list := range lists {
		if s := c.Access[name]; s != nil {
			*list = *s
		}
	}
	secret, err := c.StoreDSN.MarshalText()
	if err != nil {
		return nil, err
	}
	shown.StoreDSN = Secret(secret)
	return json.Marshal(settings.Values(fs))
}

// Validate tells everything that is wrong.
func (c *Config) Validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
	}
	if !filepath.IsAbs(c.DataDir) {
		bad("dataDir", "%q must be an absolute path", c.DataDir)
	}
	c.validateStore(bad)
	if err := mesh.ValidateName(mesh.DataplaneKind, c.Zone).Err(); err != nil {
		bad("zone", "%q %s", c.Zone, strings.TrimPrefix(err.Error(), "name: "))
	}
	if c.ResourceFiles != "" && !filepath.IsAbs(c.ResourceFiles) {
		bad("resourceFiles", "%q must be an absolute path", c.ResourceFiles)
	}
	if !filepath.IsAbs(c.APISocket) {
		bad("apiSocket", "%q must be an absolute path", c.APISocket)
	}
	// A unix socket's path has room for 107 bytes and a NUL.
	if len(c.APISocket) > 107 {
		bad("apiSocket", "is %d bytes long, 107 is the most", len(c.APISocket))
	}
	for _, a := range []struct {
		key, value string
		needed     bool
	}{
		{"hostsAddress", c.HostsAddress, true},
		{"apiAddress", c.APIAddress, false},
		{"apiTlsAddress", c.APITLSAddress, false},
		{"diagnosticsAddress", c.DiagnosticsAddress, false},
	} {
		if a.value == "" && !a.needed {
			continue
		}
		if _, _, err := net.SplitHostPort(a.value); err != nil {
			bad(a.key, "%q must be host:port, such as 0.0.0.0:5678", a.value)
		}
	}
	for _, p := range c.Peers {
		if host, port, err := net.SplitHostPort(p); err != nil || host == "" || port == "" {
			bad("peers", "%q must be host:port, such as cp2.example.com:5678", p)
		}
	}
	if !slices.Contains([]string{DPAuthToken, DPAuthNone}, c.DPAuth) {
		bad("dpAuth", "%q must be %q or %q", c.DPAuth, DPAuthToken, DPAuthNone)
	}
	if c.LocalhostIsAdmin && c.APIAddress == "" {
		bad("localhostIsAdmin", "needs apiAddress")
	}
	if b := cmp.Or(c.APIBasePath, "/"); b[0] != '/' || path.Clean(b) != cmp.Or(strings.TrimSuffix(b, "/"), "/") {
		bad("apiBasePath", "%q must begin with a slash and have no empty part", c.APIBasePath)
	}
	for _, o := range c.APIOrigins {
		if _, err := regexp.Compile(o); err != nil {
			bad("apiOrigins", "%q is no regular expression: %s", o, err)
		}
	}
	c.validateTokens(bad)
	return errors.Join(errs...)
}

// origins are those of a valid configuration.
func (c *Config) origins() (all []*regexp.Regexp) {
	for _, o := range c.APIOrigins {
		all = append(all, regexp.MustCompile("^(?:"+o+")$"))
	}
	return all
}

func (c *Config) validateStore(bad func(key, format string, args ...any)) {
	switch {
	case !slices.Contains([]string{StoreSQLite, StorePostgres, StoreMemory}, c.Store):
		bad("store", "%q must be %q, %q or %q", c.Store, StoreSQLite, StorePostgres, StoreMemory)
	case c.Store == StorePostgres && c.StoreDSN == "":
		bad("storeDsn", "must be set for store %q, such as postgres://weft@db.example.com/weft", c.Store)
	case c.Store != StorePostgres && c.StoreDSN != "":
		bad("storeDsn", "is for store %q, but store is %q", StorePostgres, c.Store)
	}
	for _, f := range []struct{ key, value string }{
		{"storeTlsCa", c.StoreTLSCA}, {"storeTlsCert", c.StoreTLSCert}, {"storeTlsKey", c.StoreTLSKey},
	} {
		switch {
		case f.value == "":
		case c.Store != StorePostgres:
			bad(f.key, "is for store %q, but store is %q", StorePostgres, c.Store)
		case !filepath.IsAbs(f.value):
			bad(f.key, "%q must be an absolute path", f.value)
		}
	}
	if (c.StoreTLSCert == "") != (c.StoreTLSKey == "") {
		bad("storeTlsCert", "and storeTlsKey belong together")
	}
}
