package mesh

// Kinds is the table of everything that can be stored or told, in the order in
// which an export must be applied. A new kind is a line here and a file beside
// it.
var Kinds = []*Kind{
	MeshKind,
	ZoneKind,
	SecretKind,
	GlobalSecretKind,
	AccessRoleKind,
	AccessRoleBindingKind,
	HostnameGeneratorKind,
	MeshIdentityKind,
	MeshTrustKind,
	MeshOpenTelemetryBackendKind,
	ZoneIngressKind,
	ZoneEgressKind,
	MeshZoneAddressKind,
	MeshServiceKind,
	MeshMultiZoneServiceKind,
	MeshExternalServiceKind,
	WorkloadKind,
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
	MeshGatewayKind,
	MeshGatewayRouteKind,
	// Those that follow act in this order.
	MeshHTTPRouteKind,
	MeshTCPRouteKind,
	MeshTLSKind,
	MeshLoadBalancingStrategyKind,
	MeshPassthroughKind,
	MeshAccessLogKind,
	MeshTraceKind,
	MeshFaultInjectionKind,
	MeshRateLimitKind,
	MeshTimeoutKind,
	MeshTrafficPermissionKind,
	MeshHealthCheckKind,
	MeshCircuitBreakerKind,
	MeshRetryKind,
	MeshMetricKind,
	MeshProxyPatchKind,
	// Told by the control plane, never stored.
	DataplaneInsightKind,
	ServiceInsightKind,
	MeshInsightKind,
	ZoneInsightKind,
	ZoneIngressInsightKind,
	ZoneEgressInsightKind,
}

// The kinds by name, for code that speaks of one of them.
var (
	MeshKind = &Kind{
		Name: "Mesh", Path: "meshes", Singular: "mesh", Short: "m",
		MaxName: MaxLabel, Scope: Global, Flow: FromGlobal, New: func() Spec { return new(MeshSpec) },
	}
	SecretKind = &Kind{
		Name: "Secret", Path: "secrets", Singular: "secret",
		Scope: InMesh, Flow: FromGlobal, Admin: true, New: func() Spec { return new(Secret) },
	}
	GlobalSecretKind = &Kind{
		Name: "GlobalSecret", Path: "globalsecrets", Singular: "global-secret", Aliases: []string{"global-secrets"},
		Scope: Global, Flow: FromGlobal, Admin: true, New: func() Spec { return new(Secret) },
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
		Scope: InMesh, Flow: FromZone, New: func() Spec { return new(Dataplane) },
	}
	ZoneKind = &Kind{
		Name: "Zone", Path: "zones", Singular: "zone", Short: "z",
		Scope:   Global,
		Pending: "control planes do not join into zones yet",
		New:     func() Spec { return new(Zone) },
	}
	ZoneIngressKind = &Kind{
		Name: "ZoneIngress", Path: "zoneingresses", Singular: "zone-ingress", Aliases: []string{"zone-ingresses"}, Short: "zi",
		Scope: Global, Flow: FromZone,
		Pending: "control planes do not join into zones yet",
		New:     func() Spec { return new(ZoneIngress) },
	}
	ZoneEgressKind = &Kind{
		Name: "ZoneEgress", Path: "zoneegresses", Singular: "zoneegress", Short: "ze",
		Scope: Global, Flow: FromZone,
		Pending: "nothing leaves through an egress yet",
		New:     func() Spec { return new(ZoneEgress) },
	}
	MeshServiceKind = &Kind{
		Name: "MeshService", Path: "meshservices", Singular: "meshservice", Short: "msvc",
		MaxName: MaxLabel, Scope: InMesh, Flow: FromZone,
		Pending: "services are found by the tag kuma.io/service alone yet",
		New:     func() Spec { return new(MeshService) },
	}
	MeshMultiZoneServiceKind = &Kind{
		Name: "MeshMultiZoneService", Path: "meshmultizoneservices", Singular: "meshmultizoneservice", Short: "mzsvc",
		MaxName: MaxLabel, Scope: InMesh, Flow: FromGlobal,
		Pending: "services are found by the tag kuma.io/service alone yet",
		New:     func() Spec { return new(MeshMultiZoneService) },
	}
	MeshExternalServiceKind = &Kind{
		Name: "MeshExternalService", Path: "meshexternalservices", Singular: "meshexternalservice", Short: "extsvc",
		MaxName: MaxLabel, Scope: InMesh, Flow: FromGlobal | FromZone,
		Pending: "no proxy follows it yet; until then use ExternalService",
		New:     func() Spec { return new(MeshExternalService) },
	}
	HostnameGeneratorKind = &Kind{
		Name: "HostnameGenerator", Path: "hostnamegenerators", Singular: "hostnamegenerator", Short: "hg",
		Scope: Global, Flow: FromGlobal | FromZone,
		Pending: "it makes no names yet; until then use VirtualOutbound",
		New:     func() Spec { return new(HostnameGenerator) },
	}
	MeshIdentityKind = &Kind{
		Name: "MeshIdentity", Path: "meshidentities", Singular: "meshidentity", Short: "mid",
		Scope: InMesh, Flow: FromGlobal | FromZone,
		Pending: "no proxy follows it yet; until then use mtls of the Mesh",
		New:     func() Spec { return new(MeshIdentity) },
	}
	MeshTrustKind = &Kind{
		Name: "MeshTrust", Path: "meshtrusts", Singular: "meshtrust", Short: "mtrust",
		Scope: InMesh, Flow: FromGlobal | FromZone,
		Pending: "no proxy follows it yet; until then use mtls of the Mesh",
		New:     func() Spec { return new(MeshTrust) },
	}
	WorkloadKind = &Kind{
		Name: "Workload", Path: "workloads", Singular: "workload", Short: "wl",
		Scope: InMesh, Flow: FromZone,
		Pending: "the control plane does not count the proxies of workloads yet",
		New:     func() Spec { return new(Workload) },
	}
	MeshOpenTelemetryBackendKind = &Kind{
		Name: "MeshOpenTelemetryBackend", Path: "meshopentelemetrybackends", Singular: "meshopentelemetrybackend", Short: "motb",
		Scope: InMesh, Flow: FromGlobal | FromZone,
		Pending: "no proxy follows it yet; until then use the backends of the Mesh",
		New:     func() Spec { return new(MeshOpenTelemetryBackend) },
	}
	MeshZoneAddressKind = &Kind{
		Name: "MeshZoneAddress", Path: "meshzoneaddresses", Singular: "meshzoneaddress", Short: "mza",
		Scope: InMesh, Flow: FromZone,
		Pending: "control planes do not join into zones yet",
		New:     func() Spec { return new(MeshZoneAddress) },
	}
)
