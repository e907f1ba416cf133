package mesh

// Kinds is the table of everything that can be stored, in the order in which
// an export must be applied. A new kind is a line here and a file beside it.
var Kinds = []*Kind{
	MeshKind,
	SecretKind,
	DataplaneKind,
	TrafficPermissionKind,
	FaultInjectionKind,
	RateLimitKind,
	ExternalServiceKind,
	VirtualOutboundKind,
	ProxyTemplateKind,
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
	DataplaneKind = &Kind{
		Name: "Dataplane", Path: "dataplanes", Singular: "dataplane", Short: "dp",
		Scope: InMesh, New: func() Spec { return new(Dataplane) },
	}
	TrafficPermissionKind = &Kind{
		Name: "TrafficPermission", Path: "traffic-permissions", Singular: "traffic-permission",
		Scope: InMesh, New: func() Spec { return new(TrafficPermission) },
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
)
