package plan

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/weft-mesh/weft/pkg/cp/policy"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// The lines of backends that give no format of their own. Tools read them, so
// what is in them and in which order stays as it is.
const (
	httpLog = `[%START_TIME%] %KUMA_MESH% "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" ` +
		`%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% ` +
		`"%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-B3-TRACEID?X-DATADOG-TRACEID)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" ` +
		`"%KUMA_SOURCE_SERVICE%" "%KUMA_DESTINATION_SERVICE%" "%KUMA_SOURCE_ADDRESS_WITHOUT_PORT%" "%UPSTREAM_HOST%"`
	tcpLog = `[%START_TIME%] %RESPONSE_FLAGS% %KUMA_MESH% ` +
		`%KUMA_SOURCE_ADDRESS_WITHOUT_PORT%(%KUMA_SOURCE_SERVICE%)->%UPSTREAM_HOST%(%KUMA_DESTINATION_SERVICE%) ` +
		`took %DURATION%ms, sent %BYTES_SENT% bytes, received: %BYTES_RECEIVED% bytes`
)

// external is what lines call everything that is outside of the mesh.
const external = "external"

// logs are where lines of the calls to a service go.
func (p *planner) logs(service, protocol string) []proxy.AccessLog {
	return p.accessLogs(service, service, protocol)
}

// passthroughLogs are where lines of calls to unknown destinations go.
func (p *planner) passthroughLogs() []proxy.AccessLog {
	if !p.spec.Passthrough() {
		return nil
	}
	return p.accessLogs(mesh.PassThrough, external, proxy.TCP)
}

func (p *planner) accessLogs(service, called, protocol string) []proxy.AccessLog {
	spec, m := chosen[*mesh.TrafficLog](p, mesh.TrafficLogKind, policy.Logs, service)
	if spec == nil {
		return nil
	}
	b := p.spec.Logging.Backend(spec.Backend())
	if b == nil {
		p.warnBackend(m.Policy, "logging", spec.Backend(), "calls are not logged")
		return nil
	}
	log := proxy.AccessLog{
		From:    origin(m),
		Backend: b.Name,
		Format:  strings.Join(p.logLine(b, proxy.IsHTTP(protocol)), called),
	}
	if b.Type == mesh.LogFile {
		log.File = b.Conf.Path
	} else {
		log.TCP = b.Conf.Address
	}
	return []proxy.AccessLog{log}
}

// A logLine names a line of one plan: its backend's own, or the default one of
// a protocol.
type logLine struct {
	backend string
	http    bool
}

// logLine returns the line of a backend with everything filled in but what is
// called, at which it is parted: there may be a thousand services.
func (p *planner) logLine(b *mesh.LoggingBackend, http bool) []string {
	format, key := b.Format, logLine{backend: b.Name}
	if format == "" {
		format, key.http = tcpLog, http
		if http {
			format = httpLog
		}
	}
	parts := p.logLines[key]
	if parts == nil {
		const called = "\x00" // no format has it
		parts = strings.Split(mesh.ExpandLogFormat(strings.TrimRight(format, "\n"), p.logValues(called)), called)
		p.logLines[key] = parts
	}
	return parts
}

// logValues are what stands in the place of the placeholders that are ours.
func (p *planner) logValues(called string) map[string]string {
	first := p.ownTags()
	values := map[string]string{
		mesh.LogMesh:          p.view.Name(),
		mesh.LogDirection:     "OUTBOUND",
		mesh.LogDestination:   called,
		mesh.LogSourceService: first.Service(),
		mesh.LogZone:          first[mesh.ZoneTag],
		mesh.LogWorkload:      p.labels[mesh.WorkloadLabel],
	}
	if ip := p.view.Host(p.dp.Networking.Address); ip.IsValid() {
		values[mesh.LogSourceIP] = ip.String()
		values[mesh.LogSourceAddress] = netip.AddrPortFrom(ip, 0).String()
	}
	return values
}

// ownTags are those by which the dataplane is known where it can have only one
// name: its first inbound's, or its gateway's.
func (p *planner) ownTags() mesh.Tags {
	if sets := p.dp.TagSets(); len(sets) > 0 {
		return sets[0]
	}
	return nil
}

// warnBackend tells that a policy names a backend that the mesh does not have.
func (p *planner) warnBackend(r *mesh.Resource, field, name, so string) {
	part := fmt.Sprintf("%s %q conf.backend", r.Kind.Name, r.Meta.Name)
	if name == "" {
		p.warnOnce(part, "is not set, and mesh %s has no %s.defaultBackend: %s", p.view.Name(), field, so)
		return
	}
	p.warnOnce(part, "%q is not the name of any of %s.backends in mesh %s: %s", name, field, p.view.Name(), so)
}
