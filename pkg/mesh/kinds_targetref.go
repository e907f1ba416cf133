package mesh

// The policies that select by targetRef.
var (
	MeshHTTPRouteKind = &Kind{
		Name: "MeshHTTPRoute", Path: "meshhttproutes", Singular: "meshhttproute", Short: "mhttpr",
		Scope: InMesh, Flow: FromGlobal | FromZone, Policy: &Policy{TargetRef: true, To: true},
		Pending: "no proxy follows it yet; until then use TrafficRoute",
		New:     func() Spec { return new(MeshHTTPRoute) },
	}
	MeshTCPRouteKind = &Kind{
		Name: "MeshTCPRoute", Path: "meshtcproutes", Singular: "meshtcproute", Short: "mtcpr",
		Scope: InMesh, Flow: FromGlobal | FromZone, Policy: &Policy{TargetRef: true, To: true},
		Pending: "no proxy follows it yet; until then use TrafficRoute",
		New:     func() Spec { return new(MeshTCPRoute) },
	}
	MeshTLSKind = &Kind{
		Name: "MeshTLS", Path: "meshtlses", Singular: "meshtls", Short: "mtls",
		Scope: InMesh, Flow: FromGlobal | FromZone, Policy: &Policy{TargetRef: true, From: true, Rules: true},
		Pending: "no proxy follows it yet; until then use mtls of the Mesh",
		New:     func() Spec { return new(MeshTLS) },
	}
	MeshLoadBalancingStrategyKind = &Kind{
		Name: "MeshLoadBalancingStrategy", Path: "meshloadbalancingstrategies", Singular: "meshloadbalancingstrategy", Short: "mlbs",
		Scope: InMesh, Flow: FromGlobal | FromZone, Policy: &Policy{TargetRef: true, To: true},
		Pending: "no proxy follows it yet; until then use the loadBalancer of a TrafficRoute, and routing of the Mesh",
		New:     func() Spec { return new(MeshLoadBalancingStrategy) },
	}
	MeshPassthroughKind = &Kind{
		Name: "MeshPassthrough", Path: "meshpassthroughs", Singular: "meshpassthrough", Short: "mp",
		Scope: InMesh, Flow: FromGlobal | FromZone, Policy: &Policy{TargetRef: true},
		Pending: "no proxy follows it yet; until then use networking.outbound of the Mesh",
		New:     func() Spec { return new(MeshPassthrough) },
	}
	MeshAccessLogKind = &Kind{
		Name: "MeshAccessLog", Path: "meshaccesslogs", Singular: "meshaccesslog", Short: "mal",
		Scope: InMesh, Flow: FromGlobal | FromZone, Policy: &Policy{TargetRef: true, To: true, From: true, Rules: true},
		Pending: "no proxy follows it yet; until then use TrafficLog",
		New:     func() Spec { return new(MeshAccessLog) },
	}
	MeshTraceKind = &Kind{
		Name: "MeshTrace", Path: "meshtraces", Singular: "meshtrace", Short: "mtr",
		Scope: InMesh, Flow: FromGlobal | FromZone, Policy: &Policy{TargetRef: true},
		Pending: "no proxy follows it yet; until then use TrafficTrace",
		New:     func() Spec { return new(MeshTrace) },
	}
	MeshFaultInjectionKind = &Kind{
		Name: "MeshFaultInjection", Path: "meshfaultinjections", Singular: "meshfaultinjection", Short: "mfi",
		Scope: InMesh, Flow: FromGlobal | FromZone, Policy: &Policy{TargetRef: true, To: true, From: true, Rules: true},
		Pending: "no proxy follows it yet; until then use FaultInjection",
		New:     func() Spec { return new(MeshFaultInjection) },
	}
	MeshRateLimitKind = &Kind{
		Name: "MeshRateLimit", Path: "meshratelimits", Singular: "meshratelimit", Short: "mrl",
		Scope: InMesh, Flow: FromGlobal | FromZone, Policy: &Policy{TargetRef: true, To: true, From: true, Rules: true},
		Pending: "no proxy follows it yet; until then use RateLimit",
		New:     func() Spec { return new(MeshRateLimit) },
	}
	MeshTimeoutKind = &Kind{
		Name: "MeshTimeout", Path: "meshtimeouts", Singular: "meshtimeout", Short: "mt",
		Scope: InMesh, Flow: FromGlobal | FromZone, Policy: &Policy{TargetRef: true, To: true, From: true, Rules: true},
		Pending: "no proxy follows it yet; until then use Timeout",
		New:     func() Spec { return new(MeshTimeout) },
	}
	MeshTrafficPermissionKind = &Kind{
		Name: "MeshTrafficPermission", Path: "meshtrafficpermissions", Singular: "meshtrafficpermission", Short: "mtp",
		Scope: InMesh, Flow: FromGlobal | FromZone, Policy: &Policy{TargetRef: true, From: true, Rules: true},
		Pending: "no proxy follows it yet; until then use TrafficPermission",
		New:     func() Spec { return new(MeshTrafficPermission) },
	}
	MeshHealthCheckKind = &Kind{
		Name: "MeshHealthCheck", Path: "meshhealthchecks", Singular: "meshhealthcheck", Short: "mhc",
		Scope: InMesh, Flow: FromGlobal | FromZone, Policy: &Policy{TargetRef: true, To: true},
		Pending: "no proxy follows it yet; until then use HealthCheck",
		New:     func() Spec { return new(MeshHealthCheck) },
	}
	MeshCircuitBreakerKind = &Kind{
		Name: "MeshCircuitBreaker", Path: "meshcircuitbreakers", Singular: "meshcircuitbreaker", Short: "mcb",
		Scope: InMesh, Flow: FromGlobal | FromZone, Policy: &Policy{TargetRef: true, To: true, From: true, Rules: true},
		Pending: "no proxy follows it yet; until then use CircuitBreaker",
		New:     func() Spec { return new(MeshCircuitBreaker) },
	}
	MeshRetryKind = &Kind{
		Name: "MeshRetry", Path: "meshretries", Singular: "meshretry", Short: "mr",
		Scope: InMesh, Flow: FromGlobal | FromZone, Policy: &Policy{TargetRef: true, To: true},
		Pending: "no proxy follows it yet; until then use Retry",
		New:     func() Spec { return new(MeshRetry) },
	}
	MeshMetricKind = &Kind{
		Name: "MeshMetric", Path: "meshmetrics", Singular: "meshmetric", Short: "mm",
		Scope: InMesh, Flow: FromGlobal | FromZone, Policy: &Policy{TargetRef: true},
		Pending: "no proxy follows it yet; until then use metrics of the Mesh",
		New:     func() Spec { return new(MeshMetric) },
	}
	MeshProxyPatchKind = &Kind{
		Name: "MeshProxyPatch", Path: "meshproxypatches", Singular: "meshproxypatch", Short: "mpp",
		Scope: InMesh, Flow: FromGlobal | FromZone, Policy: &Policy{TargetRef: true},
		Pending: "no proxy follows it yet; until then use ProxyTemplate",
		New:     func() Spec { return new(MeshProxyPatch) },
	}
)
