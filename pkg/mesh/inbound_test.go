package mesh_test

import (
	"math"
	"testing"
	"time"

	"github.com/weft-mesh/weft/pkg/mesh"
)

func percent(p float64) *float64 { return &p }

func TestFaultInjectionValidate(t *testing.T) {
	all := []mesh.Selector{{Match: mesh.Tags{"kuma.io/service": "*"}}}
	to := func(protocol string) []mesh.Selector {
		return []mesh.Selector{{Match: mesh.Tags{"kuma.io/service": "api", "kuma.io/protocol": protocol}}}
	}
	with := func(c mesh.FaultConf) mesh.FaultInjection {
		return mesh.FaultInjection{Sources: all, Destinations: to("http"), Conf: c}
	}
	delay := func(p *float64, value string) mesh.FaultInjection {
		return with(mesh.FaultConf{Delay: &mesh.FaultDelay{Percentage: p, Value: value}})
	}
	abort := func(p *float64, status uint32) mesh.FaultInjection {
		return with(mesh.FaultConf{Abort: &mesh.FaultAbort{Percentage: p, HTTPStatus: status}})
	}
	bandwidth := func(p *float64, limit string) mesh.FaultInjection {
		return with(mesh.FaultConf{ResponseBandwidth: &mesh.FaultBandwidth{Percentage: p, Limit: limit}})
	}
	reaching := func(d ...mesh.Selector) mesh.FaultInjection {
		f := abort(percent(1), 500)
		f.Destinations = d
		return f
	}
	const protocol = `destinations[0].match["kuma.io/protocol"]: must be one of http, http2, grpc`
	for _, c := range []struct {
		name string
		spec mesh.FaultInjection
		want string
	}{
		{"delay", delay(percent(0), "1ms"), ""},
		{"abort", abort(percent(100), 200), ""},
		{"bandwidth", bandwidth(percent(0.5), "50 mbps"), ""},
		{"all three", with(mesh.FaultConf{
			Delay: &mesh.FaultDelay{Percentage: percent(50), Value: "1m30s"}, Abort: &mesh.FaultAbort{Percentage: percent(50), HTTPStatus: 599},
			ResponseBandwidth: &mesh.FaultBandwidth{Percentage: percent(50), Limit: "1gbps"},
		}), ""},
		{"any tags of sources", mesh.FaultInjection{Sources: []mesh.Selector{{Match: mesh.Tags{"version": "*"}}, {Match: mesh.Tags{"team": "a"}}}, Destinations: to("GRPC"), Conf: abort(percent(1), 500).Conf}, ""},
		{"nothing", mesh.FaultInjection{}, "sources: must have at least one selector\ndestinations: must have at least one selector\nconf: must have at least one of delay, abort and responseBandwidth"},
		{"empty selectors", mesh.FaultInjection{Sources: []mesh.Selector{{}}, Destinations: []mesh.Selector{{}}, Conf: abort(percent(1), 500).Conf},
			"sources[0].match: must have at least one tag\ndestinations[0].match: must have at least one tag\n" + protocol},
		{"no protocol", reaching(mesh.Selector{Match: mesh.Tags{"kuma.io/service": "api"}}), protocol},
		{"tcp", reaching(to("tcp")...), protocol},
		{"any protocol", reaching(to("*")...), protocol},
		{"the second destination", reaching(to("http2")[0], to("kafka")[0]), `destinations[1].match["kuma.io/protocol"]: must be one of`},
		{"no percentages", with(mesh.FaultConf{Delay: &mesh.FaultDelay{Value: "1s"}, Abort: &mesh.FaultAbort{HTTPStatus: 500}, ResponseBandwidth: &mesh.FaultBandwidth{Limit: "1kbps"}}),
			"conf.delay.percentage: must be given\nconf.abort.percentage: must be given\nconf.responseBandwidth.percentage: must be given"},
		{"percentages out of range", with(mesh.FaultConf{
			Delay: &mesh.FaultDelay{Percentage: percent(-1), Value: "1s"}, Abort: &mesh.FaultAbort{Percentage: percent(100.1), HTTPStatus: 500},
			ResponseBandwidth: &mesh.FaultBandwidth{Percentage: percent(math.NaN()), Limit: "1kbps"},
		}), "conf.delay.percentage: must be in the range [0, 100]\nconf.abort.percentage: must be in the range [0, 100]\nconf.responseBandwidth.percentage: must be in the range [0, 100]"},
		{"no delay", delay(percent(1), ""), "conf.delay.value: must be given"},
		{"delay without unit", delay(percent(1), "5"), `conf.delay.value: "5" is not a duration`},
		{"delay of nothing", delay(percent(1), "0s"), "conf.delay.value: must be longer than nothing"},
		{"no status", abort(percent(1), 0), "conf.abort.httpStatus: must be the status of an answer, 200 to 599"},
		{"informational status", abort(percent(1), 199), "conf.abort.httpStatus: must be"},
		{"status too high", abort(percent(1), 600), "conf.abort.httpStatus: must be"},
		{"no limit", bandwidth(percent(1), ""), `conf.responseBandwidth.limit: "" is not a bandwidth`},
		{"limit without unit", bandwidth(percent(1), "50"), `conf.responseBandwidth.limit: "50" is not`},
		{"limit of another unit", bandwidth(percent(1), "50 MBps"), `conf.responseBandwidth.limit: "50 MBps" is not`},
		{"limit with a fraction", bandwidth(percent(1), "0.5 mbps"), `conf.responseBandwidth.limit: "0.5 mbps" is not`},
		{"limit of nothing", bandwidth(percent(1), "0 kbps"), `conf.responseBandwidth.limit: "0 kbps" lets nothing through`},
		{"limit beyond counting", bandwidth(percent(1), "99999999999999 gbps"), `conf.responseBandwidth.limit: "99999999999999 gbps" is more`},
	} {
		t.Run(c.name, func(t *testing.T) { matchLines(t, c.spec.Validate(), c.want) })
	}
}

func TestBandwidth(t *testing.T) {
	for text, want := range map[string]uint64{"50 mbps": 50_000_000, "100kbps": 100_000, "1  gbps": 1_000_000_000, "x": 0} {
		if got := (&mesh.FaultBandwidth{Limit: text}).BitsPerSecond(); got != want {
			t.Errorf("%q is %d bits a second, want %d", text, got, want)
		}
	}
	if got := (&mesh.FaultDelay{Value: "1m5s"}).Duration(); got != 65*time.Second {
		t.Errorf("delay %s", got)
	}
}

func TestRateLimitValidate(t *testing.T) {
	all := []mesh.Selector{{Match: mesh.Tags{"kuma.io/service": "*"}}}
	with := func(h *mesh.HTTPRateLimit) mesh.RateLimit {
		return mesh.RateLimit{Sources: all, Destinations: all, Conf: mesh.RateLimitConf{HTTP: h}}
	}
	on := func(o mesh.OnRateLimit) mesh.RateLimit {
		return with(&mesh.HTTPRateLimit{Requests: 1, Interval: "1s", OnRateLimit: &o})
	}
	header := func(key, value string) mesh.RateLimit {
		return on(mesh.OnRateLimit{Headers: []mesh.RateLimitHeader{{Key: "x-ok", Value: "a", Append: true}, {Key: key, Value: value}}})
	}
	for _, c := range []struct {
		name string
		spec mesh.RateLimit
		want string
	}{
		{"smallest", with(&mesh.HTTPRateLimit{Requests: 1, Interval: "50ms"}), ""},
		{"any tags", mesh.RateLimit{Sources: []mesh.Selector{{Match: mesh.Tags{"team": "a", "version": "*"}}}, Destinations: []mesh.Selector{{Match: mesh.Tags{"env": "prod"}}},
			Conf: mesh.RateLimitConf{HTTP: &mesh.HTTPRateLimit{Requests: 1, Interval: "1h"}}}, ""},
		{"all", on(mesh.OnRateLimit{Status: 423, Headers: []mesh.RateLimitHeader{{Key: "x-rate-limited", Value: "true", Append: true}, {Key: "Retry-After", Value: ""}}}), ""},
		{"nothing", mesh.RateLimit{}, "sources: must have at least one selector\ndestinations: must have at least one selector\nconf.http: must be given"},
		{"empty http", with(&mesh.HTTPRateLimit{}), "conf.http.requests: must be 1 or more\nconf.http.interval: must be given"},
		{"interval without unit", with(&mesh.HTTPRateLimit{Requests: 1, Interval: "1"}), `conf.http.interval: "1" is not a duration`},
		{"interval of nothing", with(&mesh.HTTPRateLimit{Requests: 1, Interval: "0s"}), "conf.http.interval: must be longer than nothing"},
		{"interval too short", with(&mesh.HTTPRateLimit{Requests: 1, Interval: "49ms"}), "conf.http.interval: must be 50ms or longer"},
		{"status that lets through", on(mesh.OnRateLimit{Status: 200}), "conf.http.onRateLimit.status: must be one of the usual statuses of a refusal"},
		{"status without a name", on(mesh.OnRateLimit{Status: 499}), "conf.http.onRateLimit.status: must be"},
		{"status too high", on(mesh.OnRateLimit{Status: 600}), "conf.http.onRateLimit.status: must be"},
		{"no header", header("", "x"), "conf.http.onRateLimit.headers[1].key: must not be empty"},
		{"pseudo header", header(":status", "200"), "conf.http.onRateLimit.headers[1].key: must be the name of a header"},
		{"header with a space", header("a b", "x"), "conf.http.onRateLimit.headers[1].key: must be the name of a header"},
		{"two lines", header("x-a", "a\r\nx-b: c"), "conf.http.onRateLimit.headers[1].value: must be text of one line"},
	} {
		t.Run(c.name, func(t *testing.T) { matchLines(t, c.spec.Validate(), c.want) })
	}
}
