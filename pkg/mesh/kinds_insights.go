package mesh

// What the control plane tells of how others fare.
var (
	DataplaneInsightKind = &Kind{
		Name: "DataplaneInsight", Path: "dataplane-insights", Singular: "dataplane-insight",
		Scope: InMesh, Flow: FromZone, ReadOnly: true, New: func() Spec { return new(DataplaneInsight) },
	}
	ServiceInsightKind = &Kind{
		Name: "ServiceInsight", Path: "service-insights", Singular: "service-insight",
		Scope: InMesh, ReadOnly: true, New: func() Spec { return new(ServiceInsight) },
	}
	MeshInsightKind = &Kind{
		Name: "MeshInsight", Path: "mesh-insights", Singular: "mesh-insight",
		Scope: Global, ReadOnly: true, New: func() Spec { return new(MeshInsight) },
	}
	ZoneInsightKind = &Kind{
		Name: "ZoneInsight", Path: "zone-insights", Singular: "zone-insight",
		Scope: Global, ReadOnly: true, New: func() Spec { return new(ZoneInsight) },
	}
	ZoneIngressInsightKind = &Kind{
		Name: "ZoneIngressInsight", Path: "zone-ingress-insights", Singular: "zone-ingress-insight",
		Scope: Global, Flow: FromZone, ReadOnly: true, New: func() Spec { return new(ZoneIngressInsight) },
	}
	ZoneEgressInsightKind = &Kind{
		Name: "ZoneEgressInsight", Path: "zoneegressinsights", Singular: "zone-egress-insight",
		Scope: Global, Flow: FromZone, ReadOnly: true, New: func() Spec { return new(ZoneEgressInsight) },
	}
)
