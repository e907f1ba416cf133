package plan

import (
	"time"

	"github.com/weft-mesh/weft/pkg/cp/policy"
	"github.com/weft-mesh/weft/pkg/mesh"
	"github.com/weft-mesh/weft/pkg/proxy"
)

// What holds as long as no Timeout says otherwise.
const (
	connectTimeout = proxy.Duration(5 * time.Second)
	// httpIdle is shorter than what inbounds allow, so that it is the caller
	// who closes: a request that meets a closing server is lost.
	httpIdle = proxy.Duration(time.Hour)
)

// timeouts limits the calls of an outbound.
func (p *planner) timeouts(out *proxy.Outbound) {
	t, http := &out.Timeouts, proxy.IsHTTP(out.Protocol)
	if http {
		t.HTTPIdle = httpIdle
	}
	spec, m := chosen[*mesh.Timeout](p, mesh.TimeoutKind, policy.Timeouts, out.Service)
	if spec == nil {
		return
	}
	c := spec.Conf
	t.From = origin(m)
	if c.TCP != nil && !http {
		set(&t.TCPIdle, c.TCP.IdleTimeout)
	}
	if c.GRPC != nil && out.Protocol == proxy.GRPC {
		set(&t.StreamIdle, c.GRPC.StreamIdleTimeout)
		set(&t.MaxStream, c.GRPC.MaxStreamDuration)
	}
	if c.HTTP != nil && http {
		set(&t.Request, c.HTTP.RequestTimeout)
		set(&t.HTTPIdle, c.HTTP.IdleTimeout)
		set(&t.StreamIdle, c.HTTP.StreamIdleTimeout)
		set(&t.MaxStream, c.HTTP.MaxStreamDuration)
	}
}

// clusterTimeouts limits connections to a cluster.
func (p *planner) clusterTimeouts(c *proxy.Cluster) {
	c.ConnectTimeout = connectTimeout
	if c.HTTP2 {
		c.HTTPIdle = httpIdle
	}
	spec, m := chosen[*mesh.Timeout](p, mesh.TimeoutKind, policy.Timeouts, c.Service)
	if spec == nil {
		return
	}
	c.TimeoutsFrom = origin(m)
	set(&c.ConnectTimeout, spec.Conf.ConnectTimeout)
	if spec.Conf.HTTP != nil && (c.HTTP2 || c.External != nil && p.protocol(c.Service) == proxy.HTTP) {
		set(&c.HTTPIdle, spec.Conf.HTTP.IdleTimeout)
	}
}

// set writes a duration of a document; "" leaves d as it is.
func set(d *proxy.Duration, s string) {
	if s != "" {
		*d = proxy.Duration(mesh.Duration(s))
	}
}
