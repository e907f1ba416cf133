package mesh

// The policies that select by tags, and what goes with them.
var (
	TrafficPermissionKind = &Kind{
		Name: "TrafficPermission", Path: "traffic-permissions", Singular: "traffic-permission",
		Scope: InMesh, Flow: FromGlobal, Policy: &Policy{}, New: func() Spec { return new(TrafficPermission) },
	}
	TrafficRouteKind = &Kind{
		Name: "TrafficRoute", Path: "traffic-routes", Singular: "traffic-route",
		Scope: InMesh, Flow: FromGlobal, Policy: &Policy{}, New: func() Spec { return new(TrafficRoute) },
	}
	HealthCheckKind = &Kind{
		Name: "HealthCheck", Path: "health-checks", Singular: "healthcheck",
		Scope: InMesh, Flow: FromGlobal, Policy: &Policy{}, New: func() Spec { return new(HealthCheck) },
	}
	CircuitBreakerKind = &Kind{
		Name: "CircuitBreaker", Path: "circuit-breakers", Singular: "circuit-breaker",
		Scope: InMesh, Flow: FromGlobal, Policy: &Policy{}, New: func() Spec { return new(CircuitBreaker) },
	}
	RetryKind = &Kind{
		Name: "Retry", Path: "retries", Singular: "retry",
		Scope: InMesh, Flow: FromGlobal, Policy: &Policy{}, New: func() Spec { return new(Retry) },
	}
	TimeoutKind = &Kind{
		Name: "Timeout", Path: "timeouts", Singular: "timeout",
		Scope: InMesh, Flow: FromGlobal, Policy: &Policy{}, New: func() Spec { return new(Timeout) },
	}
	FaultInjectionKind = &Kind{
		Name: "FaultInjection", Path: "fault-injections", Singular: "fault-injection",
		Scope: InMesh, Flow: FromGlobal, Policy: &Policy{}, New: func() Spec { return new(FaultInjection) },
	}
	RateLimitKind = &Kind{
		Name: "RateLimit", Path: "rate-limits", Singular: "rate-limit",
		Scope: InMesh, Flow: FromGlobal, Policy: &Policy{}, New: func() Spec { return new(RateLimit) },
	}
	VirtualOutboundKind = &Kind{
		Name: "VirtualOutbound", Path: "virtual-outbounds", Singular: "virtual-outbound",
		Scope: InMesh, Flow: FromGlobal, Policy: &Policy{}, New: func() Spec { return new(VirtualOutbound) },
	}
	ProxyTemplateKind = &Kind{
		Name: "ProxyTemplate", Path: "proxytemplates", Singular: "proxytemplate",
		Scope: InMesh, Flow: FromGlobal, Policy: &Policy{}, New: func() Spec { return new(ProxyTemplate) },
	}
	TrafficLogKind = &Kind{
		Name: "TrafficLog", Path: "traffic-logs", Singular: "traffic-log",
		Scope: InMesh, Flow: FromGlobal, Policy: &Policy{}, New: func() Spec { return new(TrafficLog) },
	}
	TrafficTraceKind = &Kind{
		Name: "TrafficTrace", Path: "traffic-traces", Singular: "traffic-trace",
		Scope: InMesh, Flow: FromGlobal, Policy: &Policy{}, New: func() Spec { return new(TrafficTrace) },
	}
	ExternalServiceKind = &Kind{
		Name: "ExternalService", Path: "external-services", Singular: "external-service",
		Scope: InMesh, Flow: FromGlobal, New: func() Spec { return new(ExternalService) },
	}
	MeshGatewayKind = &Kind{
		Name: "MeshGateway", Path: "meshgateways", Singular: "meshgateway", Short: "mgw",
		Scope: InMesh, Flow: FromGlobal | FromZone, Policy: &Policy{},
		Pending: "a gateway of type BUILTIN takes no traffic yet; a DELEGATED one does",
		New:     func() Spec { return new(MeshGateway) },
	}
	MeshGatewayRouteKind = &Kind{
		Name: "MeshGatewayRoute", Path: "meshgatewayroutes", Singular: "meshgatewayroute",
		Scope: InMesh, Flow: FromGlobal, Policy: &Policy{},
		Pending: "a gateway of type BUILTIN takes no traffic yet; a DELEGATED one does",
		New:     func() Spec { return new(MeshGatewayRoute) },
	}
)
