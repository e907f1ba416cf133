package mesh

import (
	"regexp"
	"strings"
)

// Tags that have a meaning of their own.
const (
	ServiceTag  = "kuma.io/service"
	ProtocolTag = "kuma.io/protocol"
	ZoneTag     = "kuma.io/zone"
)

// Any is the selector value that accepts whatever a tag's value is.
const Any = "*"

// Tags are the attributes of an inbound, an outbound or a gateway.
type Tags map[string]string

// Service returns the service that the tags name, or "".
func (t Tags) Service() string { return t[ServiceTag] }

var (
	tagKey        = regexp.MustCompile(`^[a-zA-Z0-9._:/-]+$`)
	tagValue      = regexp.MustCompile(`^[a-zA-Z0-9._:-]+$`)
	selectorValue = regexp.MustCompile(`^([a-zA-Z0-9._:/-]+|\*)$`)
)

const (
	tagKeyRule        = `tag key must consist of letters, digits, ".", "_", ":", "/" and "-"`
	tagValueRule      = `tag value must consist of letters, digits, ".", "_", ":" and "-"`
	valueRule         = `must consist of letters, digits, ".", "_", ":" and "-"`
	selectorValueRule = `value must consist of letters, digits, ".", "_", ":", "/" and "-", or be "*" for any`
)

// protocols are the values of ProtocolTag and of Inbound.Protocol.
var protocols = []string{"tcp", "tls", "http", "http2", "grpc", "kafka"}

// validateTags checks what carries tags. With needService, kuma.io/service
// has to be there.
func validateTags(path string, t Tags, needService bool) (v Violations) {
	if _, ok := t[ServiceTag]; needService && !ok {
		v.Add(keyed(path, ServiceTag), `tag has to exist: it says which service this is, as in "kuma.io/service: web"`)
	}
	for _, k := range sortedKeys(t) {
		at, val := keyed(path, k), t[k]
		switch {
		case k == "":
			v.Add(at, "tag key must not be empty")
		case !tagKey.MatchString(k):
			v.Add(at, tagKeyRule)
		}
		switch {
		case val == "":
			v.Add(at, "tag value must not be empty")
		case !tagValue.MatchString(val):
			v.Add(at, tagValueRule)
		case k == ServiceTag && strings.Trim(val, ".") == "":
			// It becomes a segment of a SPIFFE id's path.
			v.Add(at, "a service's name must not consist of dots alone")
		case k == ProtocolTag:
			v = append(v, oneOf(at, strings.ToLower(val), protocols...)...)
		}
	}
	return v
}

// oneOf accepts an empty value as the default.
func oneOf(path, value string, allowed ...string) (v Violations) {
	for _, a := range allowed {
		if value == "" || value == a {
			return nil
		}
	}
	v.Add(path, "%q is not one of %s", value, strings.Join(allowed, ", "))
	return v
}
