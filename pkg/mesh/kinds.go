package mesh

// Kinds is the table of everything that can be stored, in the order in which
// an export must be applied. A new kind is a line here and a file beside it.
var Kinds = []*Kind{
	MeshKind,
	SecretKind,
	DataplaneKind,
	TrafficPermissionKind,
	TrafficRouteKind,
	HealthCheckKind,
	CircuitBreakerKind,
	RetryKind,
	TimeoutKind,
	FaultInjectionKind,
	RateLimitKind,
	ExternalServiceKind,
	VirtualOutboundKind,
	ProxyTemplateKind,
	TrafficLogKind,
	TrafficTraceKind,
	GlobalSecretKind,
	AccessRoleKind,
	AccessRoleBindingKind,
}

// The kinds by name, for code that speaks of one of them.
var (
	MeshKind = &Kind{
		Name: "Mesh", Path: "meshes", Singular: "mesh", Short: "m",
		Scope: Global, New: func() Spec { return new(MeshSpec) },
	}
	SecretKind = &Kind{
		Name: "Secret", Path: "secrets", Singular: "secret",
		Scope: InMesh, Admin: true, New: func() Spec { return new(Secret) },
	}
	GlobalSecretKind = &Kind{
		Name: "GlobalSecret", Path: "globalsecrets", Singular: "global-secret", Aliases: []string{"global-secrets"},
		Scope: Global, Admin: true, New: func() Spec { return new(Secret) },
	}
	AccessRoleKind = &Kind{
		Name: "AccessRole", Path: "access-roles", Singular: "access-role",
		Scope: Global, Admin: true, New: func() Spec { return new(AccessRole) },
	}
	AccessRoleBindingKind = &Kind{
		Name: "AccessRoleBinding", Path: "access-role-bindings", Singular: "access-role-binding",
		Scope: Global, Admin: true, New: func() Spec { return new(AccessRoleBinding) },
	}
	DataplaneKind = &Kind{
		Name: "Dataplane", Path: "dataplanes", Singular: "dataplane", Short: "dp",
		Scope: InMesh, New: func() Spec { return new(Dataplane) },
	}
	TrafficPermissionKind = &Kind{
		Name: "TrafficPermission", Path: "traffic-permissions", Singular: "traffic-permission",
		Scope: InMesh, New: func() Spec { return new(TrafficPermission) },
	}
	TrafficRouteKind = &Kind{
		Name: "TrafficRoute", Path: "traffic-routes", Singular: "traffic-route",
		Scope: InMesh, New: func() Spec { return new(TrafficRoute) },
	}
	HealthCheckKind = &Kind{
		Name: "HealthCheck", Path: "health-checks", Singular: "healthcheck",
		Scope: InMesh, New: func() Spec { return new(HealthCheck) },
	}
	CircuitBreakerKind = &Kind{
		Name: "CircuitBreaker", Path: "circuit-breakers", Singular: "circuit-breaker",
		Scope: InMesh, New: func() Spec { return new(CircuitBreaker) },
	}
	RetryKind = &Kind{
		Name: "Retry", Path: "retries", Singular: "retry",
		Scope: InMesh, New: func() Spec { return new(Retry) },
	}
	TimeoutKind = &Kind{
		Name: "Timeout", Path: "timeouts", Singular: "timeout",
		Scope: InMesh, New: func() Spec { return new(Timeout) },
	}
	FaultInjectionKind = &Kind{
		Name: "FaultInjection", Path: "fault-injections", Singular: "fault-injection",
		Scope: InMesh, New: func() Spec { return new(FaultInjection) },
	}
	RateLimitKind = &Kind{
		Name: "RateLimit", Path: "rate-limits", Singular: "rate-limit",
		Scope: InMesh, New: func() Spec { return new(RateLimit) },
	}
	ExternalServiceKind = &Kind{
		Name: "ExternalService", Path: "external-services", Singular: "external-service",
		Scope: InMesh, New: func() Spec { return new(ExternalService) },
	}
	VirtualOutboundKind = &Kind{
		Name: "VirtualOutbound", Path: "virtual-outbounds", Singular: "virtual-outbound",
		Scope: InMesh, New: func() Spec { return new(VirtualOutbound) },
	}
	ProxyTemplateKind = &Kind{
		Name: "ProxyTemplate", Path: "proxytemplates", Singular: "proxytemplate",
		Scope: InMesh, New: func() Spec { return new(ProxyTemplate) },
	}
	TrafficLogKind = &Kind{
		Name: "TrafficLog", Path: "traffic-logs", Singular: "traffic-log",
		Scope: InMesh, New: func() Spec { return new(TrafficLog) },
	}
	TrafficTraceKind = &Kind{
		Name: "TrafficTrace", Path: "traffic-traces", Singular: "traffic-trace",
		Scope: InMesh, New: func() Spec { return new(TrafficTrace) },
	}
)
