package mesh_test

import (
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// ends are selectors that are right, for documents of which the conf is tested.
const ends = `
sources: [{match: {kuma.io/service: web, version: '*'}}]
destinations: [{match: {kuma.io/service: '*'}}]
`

// A ruling is a document and what is wrong with it: "" is nothing, else what
// each line begins with.
type ruling struct{ name, doc, want string }

func judge(t *testing.T, kind *mesh.Kind, rulings []ruling) {
	t.Helper()
	for _, r := range rulings {
		t.Run(r.name, func(t *testing.T) {
			spec := kind.New()
			if err := yaml.UnmarshalStrict([]byte(r.doc), spec); err != nil {
				t.Fatal(err)
			}
			matchLines(t, spec.Validate(), r.want)
		})
	}
}

func TestEndsValidate(t *testing.T) {
	for _, kind := range []struct {
		*mesh.Kind
		conf string
	}{
		{mesh.TrafficRouteKind, "{destination: {kuma.io/service: '*'}}"},
		{mesh.HealthCheckKind, "{interval: 1s, timeout: 1s, unhealthyThreshold: 1, healthyThreshold: 1}"},
		{mesh.CircuitBreakerKind, "{thresholds: {maxRequests: 1}}"},
		{mesh.RetryKind, "{tcp: {maxConnectAttempts: 2}}"},
		{mesh.TimeoutKind, "{connectTimeout: 1s}"},
	} {
		t.Run(kind.Name, func(t *testing.T) {
			conf := "\nconf: " + kind.conf
			judge(t, kind.Kind, []ruling{
				{"right", ends + conf, ""},
				{"none", conf, "sources: must have at least one selector\ndestinations: must have at least one selector"},
				{"empty", "sources: [{}]\ndestinations: [{match: {}}]" + conf, "sources[0].match: must have at least one tag\ndestinations[0].match: must have at least one tag"},
				{"no service", "sources: [{match: {version: v1}}]\ndestinations: [{match: {version: v1}}]" + conf,
					"sources[0].match[\"kuma.io/service\"]: tag has to exist\ndestinations[0].match: must have the tag kuma.io/service and no other"},
				{"more than the service", "sources: [{match: {kuma.io/service: a}}, {match: {kuma.io/service: '*', a: b}}]\ndestinations: [{match: {kuma.io/service: a}}, {match: {kuma.io/service: a, version: v1}}]" + conf,
					"destinations[1].match: must have the tag kuma.io/service and no other"},
				{"keys and values", "sources: [{match: {kuma.io/service: 'a b', 'c d': e}}]\ndestinations: [{match: {kuma.io/service: ''}}]" + conf,
					"sources[0].match[\"c d\"]: tag key must consist\nsources[0].match[\"kuma.io/service\"]: value must consist\ndestinations[0].match[\"kuma.io/service\"]: value must not be empty"},
				{"no conf", ends, "conf: must"},
			})
		})
	}
}

func TestTrafficRouteValidate(t *testing.T) {
	conf := func(c string) string { return ends + "\nconf: " + c }
	to := func(rest string) string { return conf("{destination: {kuma.io/service: '*'}, " + rest + "}") }
	http := func(rule string) string { return to("http: [" + rule + "]") }
	const there = ", destination: {kuma.io/service: b}}"
	get := func(modify string) string { return http("{match: {method: {exact: GET}}, modify: " + modify + there) }
	judge(t, mesh.TrafficRouteKind, []ruling{
		{"destination", conf("{destination: {kuma.io/service: b, version: v1, zone: '*'}}"), ""},
		{"split", conf("{split: [{weight: 90, destination: {kuma.io/service: '*', version: v1}}, {weight: 0, destination: {kuma.io/service: b}}]}"), ""},
		{"nowhere", conf("{loadBalancer: {random: {}}}"), `conf: must have "split" or "destination"`},
		{"both", conf("{destination: {kuma.io/service: b}, split: [{weight: 1, destination: {kuma.io/service: b}}]}"), `conf: must have either "split" or "destination"`},
		{"no weight", conf("{split: [{destination: {kuma.io/service: b}}, {weight: 0, destination: {kuma.io/service: c}}]}"), "conf.split: must have a weight above 0"},
		{"too much weight", conf("{split: [{weight: 4294967295, destination: {kuma.io/service: b}}, {weight: 1, destination: {kuma.io/service: c}}]}"), "conf.split: must have weights that add up to at most 4294967295"},
		{"no service", conf("{split: [{weight: 1, destination: {version: v1}}, {weight: 1}]}"),
			"conf.split[0].destination[\"kuma.io/service\"]: tag has to exist\nconf.split[1].destination[\"kuma.io/service\"]: tag has to exist"},
		{"bad tags", conf("{destination: {kuma.io/service: 'a b', 'c d': e, f: '', g: 'h/i'}}"),
			"conf.destination[\"c d\"]: tag key must\nconf.destination[\"f\"]: tag value must not\nconf.destination[\"g\"]: tag value must consist\nconf.destination[\"kuma.io/service\"]: tag value must consist"},

		{"round robin", to("loadBalancer: {roundRobin: {}}"), ""},
		{"least request", to("loadBalancer: {leastRequest: {choiceCount: 3}}"), ""},
		{"ring hash", to("loadBalancer: {ringHash: {hashFunction: MURMUR_HASH_2, minRingSize: 64, maxRingSize: 128}}"), ""},
		{"maglev", to("loadBalancer: {maglev: {}}"), ""},
		{"no balancer", to("loadBalancer: {}"), "conf.loadBalancer: must have exactly one of leastRequest, maglev, random, ringHash, roundRobin, has 0"},
		{"two balancers", to("loadBalancer: {maglev: {}, random: {}}"), "conf.loadBalancer: must have exactly one"},
		{"one choice", to("loadBalancer: {leastRequest: {choiceCount: 1}}"), "conf.loadBalancer.leastRequest.choiceCount: must be at least 2"},
		{"hash", to("loadBalancer: {ringHash: {hashFunction: MD5, minRingSize: 8388609, maxRingSize: 8388610}}"),
			"conf.loadBalancer.ringHash.hashFunction: \"MD5\" is not one of\nconf.loadBalancer.ringHash.minRingSize: must be at most\nconf.loadBalancer.ringHash.maxRingSize: must be at most"},
		{"ring inside out", to("loadBalancer: {ringHash: {minRingSize: 20, maxRingSize: 10}}"), "conf.loadBalancer.ringHash.maxRingSize: must be at least minRingSize, 20"},
		{"ring below the default", to("loadBalancer: {ringHash: {maxRingSize: 10}}"), "conf.loadBalancer.ringHash.maxRingSize: is less than"},

		{"all of HTTP", http(`{match: {method: {exact: GET}, path: {prefix: /a}, headers: {x-a: {regex: 'a+'}, x-b: {prefix: b}}},
			modify: {path: {rewritePrefix: /b}, host: {value: b.example}, requestHeaders: {add: [{name: x-c, value: d, append: true}], remove: [{name: x-e}]},
			responseHeaders: {add: [{name: x-f, value: g}], remove: [{name: server}]}}, split: [{weight: 1, destination: {kuma.io/service: b}}]}`), ""},
		{"by expressions", http(`{match: {path: {regex: '/a/.*'}}, modify: {path: {regex: {pattern: '^/a/(.*)', substitution: '/\1\\'}}, host: {fromPath: {pattern: '^/([^/]+).*', substitution: '\1.example'}}}` + there), ""},
		{"no match", http("{destination: {kuma.io/service: b}}"), `conf.http[0].match: must have "method", "path" or "headers"`},
		{"empty match", http("{match: {}" + there), `conf.http[0].match: must have "method"`},
		{"match of nothing", http("{match: {method: {}, path: {prefix: /a, exact: /b}, headers: {x-a: {}}}" + there),
			"conf.http[0].match.method: must have exactly one of exact, prefix, regex, has 0\nconf.http[0].match.path: must have exactly one\nconf.http[0].match.headers[\"x-a\"]: must have exactly one"},
		{"expressions gone wrong", http("{match: {path: {regex: '('}, headers: {x-a: {regex: '[a'}}}" + there),
			"conf.http[0].match.path.regex: is not a regular expression: missing closing )\nconf.http[0].match.headers[\"x-a\"].regex: is not a regular"},
		{"path without slash", http("{match: {path: {prefix: a}}" + there), `conf.http[0].match.path.prefix: must begin with "/"`},
		{"path with query", http("{match: {path: {exact: '/a?b'}}" + there), `conf.http[0].match.path.exact: must be a path without`},
		{"header names", http("{match: {headers: {'': {exact: a}, 'b c': {exact: a}}}" + there),
			"conf.http[0].match.headers[\"\"]: the name of a header must not be empty\nconf.http[0].match.headers[\"b c\"]: \"b c\" is not the name of a header"},
		{"nowhere by HTTP", http("{match: {method: {exact: GET}}}"), `conf.http[0]: must have "split" or "destination"`},
		{"no service by HTTP", http("{match: {method: {exact: GET}}, split: [{weight: 1, destination: {a: b}}]}"), `conf.http[0].split[0].destination["kuma.io/service"]: tag has to exist`},
		{"prefix of nothing", get("{path: {rewritePrefix: /b}}"), "conf.http[0].modify.path.rewritePrefix: takes the place of a prefix"},
		{"two paths", http("{match: {path: {prefix: /a}}, modify: {path: {rewritePrefix: /b, regex: {pattern: a}}, host: {}}" + there),
			"conf.http[0].modify.path: must have exactly one of regex, rewritePrefix, has 2\nconf.http[0].modify.host: must have exactly one of fromPath, value, has 0"},
		{"replacements gone wrong", get(`{path: {regex: {substitution: '\2'}}, host: {fromPath: {pattern: '(a', substitution: b}}}`),
			"conf.http[0].modify.path.regex.pattern: must not be empty\nconf.http[0].modify.path.regex.substitution: \\2: the pattern has only 0 groups\nconf.http[0].modify.host.fromPath.pattern: is not a regular"},
		{"back slash", get(`{path: {regex: {pattern: '(a)', substitution: 'b\n'}}}`), "conf.http[0].modify.path.regex.substitution: \"\\\" must be followed by"},
		{"back slash at the end", get(`{path: {regex: {pattern: '(a)', substitution: 'b\'}}}`), "conf.http[0].modify.path.regex.substitution: \"\\\" must be followed by"},
		{"headers", get(`{requestHeaders: {add: [{name: '', value: a}, {name: Host, value: a}, {name: x-a, value: "a\nb"}], remove: [{name: ':path'}]}, responseHeaders: {remove: [{name: 'a b'}, {}]}}`),
			"conf.http[0].modify.requestHeaders.add[0].name: the name\nconf.http[0].modify.requestHeaders.add[1].name: host is changed by modify.host\nconf.http[0].modify.requestHeaders.add[2].value: must be one line\n" +
				"conf.http[0].modify.requestHeaders.remove[0].name: must not begin with \":\"\nconf.http[0].modify.responseHeaders.remove[0].name: \"a b\" is not\nconf.http[0].modify.responseHeaders.remove[1].name: the name"},
	})
}

func TestHealthCheckValidate(t *testing.T) {
	conf := func(rest string) string {
		return ends + "\nconf: {interval: 10s, timeout: 2s, unhealthyThreshold: 3, healthyThreshold: 1" + rest + "}"
	}
	judge(t, mesh.HealthCheckKind, []ruling{
		{"smallest", conf(""), ""},
		{"everything", conf(", initialJitter: 1s, intervalJitter: 6s, intervalJitterPercent: 10, healthyPanicThreshold: 62.9, failTrafficOnPanic: true, eventLogPath: /tmp/log, " +
			"alwaysLogHealthCheckFailures: true, noTrafficInterval: 10s, reuseConnection: false, tcp: {send: Zm9v, receive: [YmFy, YmF6]}"), ""},
		{"http", conf(", http: {path: /health, requestHeadersToAdd: [{append: false, header: {key: x-a, value: b}}, {header: {key: host, value: c.example}}], expectedStatuses: [200, 201]}"), ""},
		{"nothing", ends + "\nconf: {}", "conf.interval: must be given\nconf.timeout: must be given\nconf.unhealthyThreshold: must be above 0\nconf.healthyThreshold: must be above 0"},
		{"durations", ends + "\nconf: {interval: 0s, timeout: 1, unhealthyThreshold: 1, healthyThreshold: 1, initialJitter: -1s, intervalJitter: x, noTrafficInterval: 10us}",
			"conf.interval: must be longer than nothing\nconf.timeout: \"1\" is not a duration\nconf.initialJitter: must be longer\nconf.intervalJitter: \"x\" is not\nconf.noTrafficInterval: must be at least 1ms"},
		{"panic", conf(", healthyPanicThreshold: 100.5"), "conf.healthyPanicThreshold: must be a percentage"},
		{"both", conf(", tcp: {}, http: {path: /}"), `conf: must have either "tcp" or "http"`},
		{"http without path", conf(", http: {}"), "conf.http.path: must be given"},
		{"http headers", conf(", http: {path: /, requestHeadersToAdd: [{}, {header: {}}, {header: {key: 'a b', value: \"c\\nd\"}}]}"),
			"conf.http.requestHeadersToAdd[0].header: must be given\nconf.http.requestHeadersToAdd[1].header.key: the name\nconf.http.requestHeadersToAdd[2].header.key: \"a b\" is not\nconf.http.requestHeadersToAdd[2].header.value: must be one line"},
		{"statuses", conf(", http: {path: /, expectedStatuses: [99, 200, 600]}"), "conf.http.expectedStatuses[0]: 99 is not a status\nconf.http.expectedStatuses[2]: 600 is not a status"},
	})
}

func TestCircuitBreakerValidate(t *testing.T) {
	conf := func(c string) string { return ends + "\nconf: {" + c + "}" }
	judge(t, mesh.CircuitBreakerKind, []ruling{
		{"everything", conf("interval: 5s, baseEjectionTime: 30s, maxEjectionPercent: 20, splitExternalAndLocalErrors: true, detectors: {totalErrors: {consecutive: 20}, gatewayErrors: {}, " +
			"localErrors: {consecutive: 7}, standardDeviation: {requestVolume: 10, minimumHosts: 5, factor: 1.9}, failure: {requestVolume: 10, minimumHosts: 5, threshold: 85}}, " +
			"thresholds: {maxConnections: 2, maxPendingRequests: 3, maxRetries: 0, maxRequests: 5}"), ""},
		{"thresholds alone", conf("thresholds: {maxRequests: 1}"), ""},
		{"detectors alone", conf("detectors: {failure: {}}"), ""},
		{"neither", conf("interval: 5s"), `conf: must have at least one of "detectors" and "thresholds"`},
		{"empty both", conf("detectors: {}, thresholds: {}"), "conf.detectors: must have at least one of\nconf.thresholds: must have at least one of"},
		{"numbers", conf("interval: 0s, baseEjectionTime: x, maxEjectionPercent: 101, detectors: {totalErrors: {consecutive: 0}, standardDeviation: {factor: -1}, failure: {threshold: 101}}"),
			"conf.interval: must be longer\nconf.baseEjectionTime: \"x\" is not\nconf.maxEjectionPercent: must be a percentage\nconf.detectors.totalErrors.consecutive: must be above 0\n" +
				"conf.detectors.standardDeviation.factor: must be 0 to 1000\nconf.detectors.failure.threshold: must be a percentage"},
	})
}

func TestRetryValidate(t *testing.T) {
	conf := func(c string) string { return ends + "\nconf: {" + c + "}" }
	judge(t, mesh.RetryKind, []ruling{
		{"everything", conf("http: {numRetries: 5, perTryTimeout: 200ms, backOff: {baseInterval: 20ms, maxInterval: 1s}, retriableStatusCodes: [500, 504], retriableMethods: [GET, DELETE], " +
			"retryOn: [all_5xx, gateway_error, reset, connect_failure, envoy_ratelimited, retriable_4xx, refused_stream, retriable_status_codes, retriable_headers, http3_post_connect_failure]}, " +
			"grpc: {numRetries: 5, perTryTimeout: 200ms, backOff: {baseInterval: 20ms}, retryOn: [cancelled, deadline_exceeded, internal, resource_exhausted, unavailable]}, tcp: {maxConnectAttempts: 3}"), ""},
		{"nothing", conf(""), `conf: must have at least one of "http", "grpc" and "tcp"`},
		{"empty parts", conf("http: {}, grpc: {}, tcp: {}"), "conf.http: must not be empty\nconf.grpc: must not be empty\nconf.tcp.maxConnectAttempts: must be above 0"},
		{"numbers", conf("http: {numRetries: 0, perTryTimeout: 0s, backOff: {maxInterval: 1us}, retriableStatusCodes: [700]}"),
			"conf.http.numRetries: must be above 0\nconf.http.perTryTimeout: must be longer\nconf.http.backOff.baseInterval: must be given\nconf.http.backOff.maxInterval: must be at least 1ms\nconf.http.retriableStatusCodes[0]: 700 is not"},
		{"back off inside out", conf("grpc: {backOff: {baseInterval: 2s, maxInterval: 1s}}"), "conf.grpc.backOff.maxInterval: must be at least baseInterval"},
		{"words", conf("http: {retriableMethods: [NONE, get, ''], retryOn: [5xx]}, grpc: {retryOn: [all_5xx, '']}"),
			"conf.http.retriableMethods[0]: \"NONE\" is not one of GET\nconf.http.retriableMethods[1]: \"get\" is not one of\nconf.http.retriableMethods[2]: must not be empty\nconf.http.retryOn[0]: \"5xx\" is not one of all_5xx\n" +
				"conf.grpc.retryOn[0]: \"all_5xx\" is not one of cancelled\nconf.grpc.retryOn[1]: must not be empty"},
		{"codes that are not listed", conf("http: {retryOn: [retriable_status_codes]}"), "conf.http.retriableStatusCodes: must list"},
	})
}

func TestTimeoutValidate(t *testing.T) {
	conf := func(c string) string { return ends + "\nconf: {" + c + "}" }
	judge(t, mesh.TimeoutKind, []ruling{
		{"everything", conf("connectTimeout: 10s, tcp: {idleTimeout: 1h}, http: {requestTimeout: 5s, idleTimeout: 1h, streamIdleTimeout: 30s, maxStreamDuration: 10m}, grpc: {streamIdleTimeout: 1s, maxStreamDuration: 2s}"), ""},
		{"off", conf("tcp: {idleTimeout: 0s}, http: {requestTimeout: 0s, idleTimeout: 0s, streamIdleTimeout: 0s, maxStreamDuration: 0s}, grpc: {streamIdleTimeout: 0s, maxStreamDuration: 0s}"), ""},
		{"nothing", conf(""), `conf: must have at least one of "connectTimeout"`},
		{"empty sections", conf("tcp: {}, http: {}, grpc: {}"), "conf.tcp: must have\nconf.http: must have at least one of\nconf.grpc: must have at least one of"},
		{"no time to connect", conf("connectTimeout: 0s"), "conf.connectTimeout: must be longer than nothing"},
		{"durations", conf("connectTimeout: -1s, tcp: {idleTimeout: 1us}, http: {requestTimeout: a, idleTimeout: -1s, streamIdleTimeout: '1', maxStreamDuration: -2s}, grpc: {streamIdleTimeout: b, maxStreamDuration: -3s}"),
			"conf.connectTimeout: must be longer\nconf.tcp.idleTimeout: must be at least 1ms\nconf.http.requestTimeout: \"a\" is not\nconf.http.idleTimeout: must be longer\nconf.http.streamIdleTimeout: \"1\" is not\n" +
				"conf.http.maxStreamDuration: must be longer\nconf.grpc.streamIdleTimeout: \"b\" is not\nconf.grpc.maxStreamDuration: must be longer"},
	})
}
