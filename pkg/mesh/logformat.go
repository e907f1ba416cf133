package mesh

import (
	"regexp"
	"slices"
	"strings"
)

// The placeholders that Weft itself fills in. All others are Envoy's and are
// filled in with each call.
const (
	LogSourceAddress     = "KUMA_SOURCE_ADDRESS"              // of the dataplane; the port is 0
	LogSourceIP          = "KUMA_SOURCE_ADDRESS_WITHOUT_PORT" // of the dataplane
	LogSourceService     = "KUMA_SOURCE_SERVICE"
	LogDestination       = "KUMA_DESTINATION_SERVICE"
	LogMesh              = "KUMA_MESH"
	LogDirection         = "KUMA_TRAFFIC_DIRECTION"
	LogZone              = "KUMA_ZONE"
	LogWorkload          = "KUMA_WORKLOAD"
	logOurs              = "KUMA_"
	maxLogFormat         = 8 << 10 // bytes
	maxLogFormatCommands = 256
)

var logPlaceholders = []string{
	LogSourceAddress, LogSourceIP, LogSourceService, LogDestination,
	LogMesh, LogDirection, LogZone, LogWorkload,
}

// logCommand is one command of a format, %NAME(argument):length%, or %%.
var logCommand = regexp.MustCompile(`^%(?:%|([A-Z0-9_]+)(?:\(([^)]*)\))?(?::(\d{1,5}))?%)`)

// ExpandLogFormat fills in the placeholders that are ours, out of values.
// Those that are missing there become "".
func ExpandLogFormat(format string, values map[string]string) string {
	var b strings.Builder
	for format != "" {
		i := strings.IndexByte(format, '%')
		if i < 0 {
			break
		}
		b.WriteString(format[:i])
		format = format[i:]
		m := logCommand.FindStringSubmatch(format)
		switch {
		case m == nil:
			b.WriteByte('%') // not valid; it is for others to say so
			format = format[1:]
			continue
		case strings.HasPrefix(m[1], logOurs):
			b.WriteString(strings.ReplaceAll(values[m[1]], "%", "%%"))
		default:
			b.WriteString(m[0])
		}
		format = format[len(m[0]):]
	}
	return b.String() + format
}

// validateLogFormat refuses what Envoy would: it refuses the whole listener
// then, and with it every call. It accepts "" as the default.
func validateLogFormat(path, format string) (v Violations) {
	switch {
	case len(format) > maxLogFormat:
		v.Add(path, "must have at most %d bytes, has %d", maxLogFormat, len(format))
		return v
	case strings.Count(format, "%") > 2*maxLogFormatCommands:
		v.Add(path, "must have at most %d commands", maxLogFormatCommands)
		return v
	case strings.ContainsAny(format, "\x00\r"):
		v.Add(path, "must not contain carriage returns or zero bytes")
	}
	for at := 0; at < len(format); {
		i := strings.IndexByte(format[at:], '%')
		if i < 0 {
			break
		}
		at += i
		m := logCommand.FindStringSubmatch(format[at:])
		if m == nil {
			v.Add(path, `there is no command at byte %d, %.20q: commands are %%NAME%%, %%NAME(argument)%% or %%NAME(argument):length%%; a percent sign is %%%%`, at, format[at:])
			return v // where the next one begins is anybody's guess
		}
		at += len(m[0])
		if m[0] != "%%" {
			v = append(v, validateLogCommand(path, m[0], m[1], m[2], m[3])...)
		}
	}
	return v
}

func validateLogCommand(path, text, name, argument, length string) (v Violations) {
	if strings.HasPrefix(name, logOurs) {
		switch {
		case !slices.Contains(logPlaceholders, name):
			v.Add(path, "%s: there is no such placeholder; there are %s", text, strings.Join(logPlaceholders, ", "))
		case text != "%"+name+"%":
			v.Add(path, "%s: takes neither an argument nor a length", text)
		}
		return v
	}
	takes, ok := logCommands[name]
	given := strings.HasPrefix(text, "%"+name+"(")
	switch {
	case !ok:
		v.Add(path, "%s: Envoy has no such command", text)
	case given && takes.argument == nil:
		v.Add(path, "%s: takes no argument", text)
	case !given && takes.needed:
		v.Add(path, "%s: needs an argument, as in %%%s(%s)%%", text, name, takes.example)
	case given && !takes.argument.MatchString(argument):
		v.Add(path, "%s: its argument is not understood; it is as in %%%s(%s)%%", text, name, takes.example)
	case length != "" && !takes.length:
		v.Add(path, "%s: takes no length", text)
	}
	return v
}

// A logArgument is what a command of Envoy takes.
type logArgument struct {
	argument *regexp.Regexp // nil: none
	needed   bool
	length   bool // of the result, in bytes
	example  string
}

var (
	logHeader   = logArgument{regexp.MustCompile(`^:?[A-Za-z0-9_.-]+(\?:?[A-Za-z0-9_.-]+)?$`), true, true, "X-FIRST?X-SECOND"}
	logTime     = logArgument{regexp.MustCompile(`^[^\n]*$`), false, false, "%Y-%m-%dT%H:%M:%S"}
	logPrefix   = logArgument{regexp.MustCompile(`^\d{1,3}$`), false, false, "16"}
	logKey      = logArgument{regexp.MustCompile(`^[A-Za-z0-9_.-]+(:(PLAIN|TYPED))?$`), true, true, "my.key:PLAIN"}
	logMetadata = logArgument{regexp.MustCompile(`^[^%\n]+$`), true, false, "namespace:key"}
)

// logCommands are what Envoy 1.40 understands without extensions. CEL is left
// out: only Envoy could say whether an expression is one.
var logCommands = func() map[string]logArgument {
	all := map[string]logArgument{
		"REQ": logHeader, "RESP": logHeader, "TRAILER": logHeader,
		"START_TIME": logTime, "START_TIME_LOCAL": logTime, "EMIT_TIME": logTime, "EMIT_TIME_LOCAL": logTime,
		"DOWNSTREAM_PEER_CERT_V_START": logTime, "DOWNSTREAM_PEER_CERT_V_END": logTime,
		"UPSTREAM_PEER_CERT_V_START": logTime, "UPSTREAM_PEER_CERT_V_END": logTime,
		"FILTER_STATE": logKey, "UPSTREAM_FILTER_STATE": logKey,
		"UPSTREAM_METADATA": logMetadata, "CLUSTER_METADATA": logMetadata,
		"DYNAMIC_METADATA":      {logMetadata.argument, true, true, logMetadata.example},
		"METADATA":              {regexp.MustCompile(`^(DYNAMIC|CLUSTER|ROUTE|UPSTREAM_HOST|LISTENER|VIRTUAL_HOST):[^%\n]+$`), true, true, "ROUTE:namespace:key"},
		"QUERY_PARAM":           {regexp.MustCompile(`^[^%\n]+$`), true, true, "name"},
		"QUERY_PARAMS":          {regexp.MustCompile(`^(ORIG|DECODED)$`), false, true, "ORIG"},
		"PATH":                  {regexp.MustCompile(`^(WQ|NQ)(:(ORIG|PATH|ORIG_OR_PATH))?$`), false, true, "NQ:ORIG"},
		"ENVIRONMENT":           {regexp.MustCompile(`^[A-Za-z0-9_]+$`), true, true, "NAME"},
		"RESPONSE_CODE_DETAILS": {regexp.MustCompile(`^ALLOW_WHITESPACES$`), false, false, "ALLOW_WHITESPACES"},
	}
	for _, name := range strings.Fields(logPlain) {
		all[name] = logArgument{}
	}
	for _, side := range []string{"DOWNSTREAM_LOCAL", "DOWNSTREAM_REMOTE", "DOWNSTREAM_DIRECT_LOCAL", "DOWNSTREAM_DIRECT_REMOTE", "UPSTREAM_LOCAL", "UPSTREAM_REMOTE"} {
		all[side+"_ADDRESS"], all[side+"_PORT"], all[side+"_ADDRESS_WITHOUT_PORT"] = logArgument{}, logArgument{}, logPrefix
	}
	return all
}()

// logPlain are the commands that take nothing.
const logPlain = `
ACCESS_LOG_TYPE BYTES_RECEIVED BYTES_RETRANSMITTED BYTES_SENT CONNECTION_ID
CONNECTION_TERMINATION_DETAILS CUSTOM_FLAGS DOWNSTREAM_CX_RTT
DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT
DOWNSTREAM_DETECTED_CLOSE_TYPE DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID
DOWNSTREAM_HANDSHAKE_DURATION DOWNSTREAM_HEADER_BYTES_RECEIVED DOWNSTREAM_HEADER_BYTES_SENT
DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID DOWNSTREAM_LOCAL_CLOSE_REASON DOWNSTREAM_LOCAL_DNS_SAN
DOWNSTREAM_LOCAL_EMAIL_SAN DOWNSTREAM_LOCAL_IP_SAN DOWNSTREAM_LOCAL_OTHERNAME_SAN
DOWNSTREAM_LOCAL_SUBJECT DOWNSTREAM_LOCAL_URI_SAN DOWNSTREAM_PEER_CERT
DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1 DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256
DOWNSTREAM_PEER_CHAIN_SERIALS DOWNSTREAM_PEER_DNS_SAN DOWNSTREAM_PEER_EMAIL_SAN
DOWNSTREAM_PEER_FINGERPRINT_1 DOWNSTREAM_PEER_FINGERPRINT_256 DOWNSTREAM_PEER_IP_SAN
DOWNSTREAM_PEER_ISSUER DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256 DOWNSTREAM_PEER_ISSUER_SERIAL
DOWNSTREAM_PEER_OTHERNAME_SAN DOWNSTREAM_PEER_SERIAL DOWNSTREAM_PEER_SUBJECT
DOWNSTREAM_PEER_URI_SAN DOWNSTREAM_TLS_CIPHER DOWNSTREAM_TLS_GROUP DOWNSTREAM_TLS_SESSION_ID
DOWNSTREAM_TLS_VERSION DOWNSTREAM_TRANSPORT_FAILURE_REASON DOWNSTREAM_WIRE_BYTES_RECEIVED
DOWNSTREAM_WIRE_BYTES_SENT DURATION FILTER_CHAIN_NAME GRPC_STATUS GRPC_STATUS_NUMBER HOSTNAME
LOCAL_REPLY_BODY PACKETS_RETRANSMITTED PROTOCOL REQUESTED_SERVER_NAME REQUEST_DURATION
REQUEST_HEADERS_BYTES REQUEST_TX_DURATION RESPONSE_CODE RESPONSE_DURATION RESPONSE_FLAGS
RESPONSE_FLAGS_LONG RESPONSE_HEADERS_BYTES RESPONSE_TRAILERS_BYTES RESPONSE_TX_DURATION
ROUNDTRIP_DURATION ROUTE_NAME SPAN_ID STREAM_ID TLS_JA3_FINGERPRINT TLS_JA4_FINGERPRINT TRACE_ID
UNIQUE_ID UPSTREAM_CLUSTER UPSTREAM_CLUSTER_RAW UPSTREAM_CONNECTION_ID
UPSTREAM_CONNECTION_IDS_ATTEMPTED UPSTREAM_CONNECTION_POOL_READY_DURATION
UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT
UPSTREAM_DETECTED_CLOSE_TYPE UPSTREAM_HEADER_BYTES_RECEIVED UPSTREAM_HEADER_BYTES_SENT
UPSTREAM_HOST UPSTREAM_HOSTS_ATTEMPTED UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT UPSTREAM_HOST_NAME
UPSTREAM_HOST_NAMES_ATTEMPTED UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT
UPSTREAM_HOST_NAME_WITHOUT_PORT UPSTREAM_LOCAL_CLOSE_REASON UPSTREAM_LOCAL_DNS_SAN
UPSTREAM_LOCAL_IP_SAN UPSTREAM_LOCAL_URI_SAN UPSTREAM_PEER_CERT UPSTREAM_PEER_DNS_SAN
UPSTREAM_PEER_IP_SAN UPSTREAM_PEER_ISSUER UPSTREAM_PEER_SUBJECT UPSTREAM_PEER_URI_SAN
UPSTREAM_PROTOCOL UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID UPSTREAM_REQUEST_ATTEMPT_COUNT
UPSTREAM_SERVER_NAME UPSTREAM_TLS_CIPHER UPSTREAM_TLS_GROUP UPSTREAM_TLS_SESSION_ID
UPSTREAM_TLS_VERSION UPSTREAM_TRANSPORT_FAILURE_REASON UPSTREAM_WIRE_BYTES_RECEIVED
UPSTREAM_WIRE_BYTES_SENT VIRTUAL_CLUSTER_NAME`
