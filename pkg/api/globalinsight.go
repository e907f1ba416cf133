package api

import (
	"time"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// A GlobalInsight counts everything. Unlike other insights it says its zeros.
type GlobalInsight struct {
	CreatedAt  time.Time             `json:"createdAt"`
	Dataplanes GlobalDataplanes      `json:"dataplanes"`
	Meshes     mesh.Total            `json:"meshes"`
	Policies   mesh.Total            `json:"policies"`
	Resources  map[string]mesh.Total `json:"resources"` // by type
	Services   GlobalServices        `json:"services"`
	Zones      GlobalZones           `json:"zones"`
}

// A GlobalCount counts by how things fare.
type GlobalCount struct {
	Offline           uint32 `json:"offline"`
	Online            uint32 `json:"online"`
	PartiallyDegraded uint32 `json:"partiallyDegraded"`
	Total             uint32 `json:"total"`
}

func (g *GlobalCount) add(n mesh.DataplaneCount) {
	g.Offline += n.Offline
	g.Online += n.Online
	g.PartiallyDegraded += n.PartiallyDegraded
	g.Total += n.Total
}

// GlobalDataplanes are those of all meshes.
type GlobalDataplanes struct {
	GatewayBuiltin   GlobalCount `json:"gatewayBuiltin"`
	GatewayDelegated GlobalCount `json:"gatewayDelegated"`
	Standard         GlobalCount `json:"standard"`
}

// GlobalServices are those of all meshes.
type GlobalServices struct {
	External         mesh.Total  `json:"external"`
	GatewayBuiltin   GlobalCount `json:"gatewayBuiltin"`
	GatewayDelegated GlobalCount `json:"gatewayDelegated"`
	Internal         GlobalCount `json:"internal"`
}

// GlobalZones count what zones consist of.
type GlobalZones struct {
	ControlPlanes ZoneCount `json:"controlPlanes"`
	ZoneEgresses  ZoneCount `json:"zoneEgresses"`
	ZoneIngresses ZoneCount `json:"zoneIngresses"`
}

// A ZoneCount is how many there are, and how many of them are connected.
type ZoneCount struct {
	Online uint32 `json:"online"`
	Total  uint32 `json:"total"`
}

// AddMesh counts what is in a mesh.
func (g *GlobalInsight) AddMesh(in *mesh.MeshInsight) {
	g.Dataplanes.Standard.add(in.DataplanesByType.Standard)
	g.Dataplanes.GatewayBuiltin.add(in.DataplanesByType.GatewayBuiltin)
	g.Dataplanes.GatewayDelegated.add(in.DataplanesByType.GatewayDelegated)
	for _, n := range in.Policies {
		g.Policies.Total += n.Total
	}
	for name, n := range in.Resources {
		g.Resources[name] = mesh.Total{Total: g.Resources[name].Total + n.Total}
	}
}

// AddService counts one service.
func (g *GlobalInsight) AddService(in *mesh.ServiceInsight) {
	n := mesh.DataplaneCount{Total: 1}
	switch in.Status {
	case "online":
		n.Online = 1
	case "offline":
		n.Offline = 1
	case "partially_degraded":
		n.PartiallyDegraded = 1
	}
	switch in.ServiceType {
	case "external":
		g.Services.External.Total++
	case "gateway_builtin":
		g.Services.GatewayBuiltin.add(n)
	case "gateway_delegated":
		g.Services.GatewayDelegated.add(n)
	default:
		g.Services.Internal.add(n)
	}
}
