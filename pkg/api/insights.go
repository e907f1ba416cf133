package api

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/weft-mesh/weft/pkg/mesh"
)

// What a service or a dataplane is.
const (
	Online            = "online"
	Offline           = "offline"
	PartiallyDegraded = "partially_degraded"
	NotAvailable      = "not_available" // nothing tells: it is outside of the mesh
)

// What a service is offered by. Dataplanes that are no gateway have no word.
const (
	ServiceExternal         = "external"
	ServiceGatewayBuiltin   = "gateway_builtin"
	ServiceGatewayDelegated = "gateway_delegated"
)

// A Stat counts dataplanes or services by what they are.
type Stat struct {
	Total             int `json:"total,omitempty"`
	Online            int `json:"online,omitempty"`
	Offline           int `json:"offline,omitempty"`
	PartiallyDegraded int `json:"partiallyDegraded,omitempty"`
}

// Count adds one that is status.
func (s *Stat) Count(status string) {
	s.Total++
	switch status {
	case Online:
		s.Online++
	case PartiallyDegraded:
		s.PartiallyDegraded++
	case Offline:
		s.Offline++
	}
}

// A Total is how many there are of something.
type Total struct {
	Total int `json:"total"`
}

// A ServiceInsight tells how a service fares.
type ServiceInsight struct {
	Mesh     string    `json:"-"`
	Name     string    `json:"-"`
	Created  time.Time `json:"-"` // of the first that offers it
	Modified time.Time `json:"-"` // of the last that changed

	Status      string   `json:"status,omitempty"`
	Dataplanes  Stat     `json:"dataplanes"`
	ServiceType string   `json:"serviceType,omitempty"`
	AddressPort string   `json:"addressPort,omitempty"` // at which workloads call it
	Zones       []string `json:"zones,omitempty"`
}

// A MeshInsight tells how a mesh fares.
type MeshInsight struct {
	Dataplanes       Stat             `json:"dataplanes"`
	Policies         map[string]Total `json:"policies,omitempty"` // by kind
	DPVersions       DPVersions       `json:"dpVersions"`
	MTLS             BackendStats     `json:"mTLS"`
	Services         ServiceTotals    `json:"services"`
	DataplanesByType DataplanesByType `json:"dataplanesByType"`
	Resources        map[string]Total `json:"resources,omitempty"` // by kind
}

// DPVersions count the dataplanes of a mesh by what they run; "unknown" are
// those that are not connected.
type DPVersions struct {
	KumaDP map[string]*Stat `json:"kumaDp,omitempty"`
	Envoy  map[string]*Stat `json:"envoy,omitempty"`
}

// BackendStats count dataplanes by the authority of their certificates. Who
// has which is known to the hosts alone, so there is nothing in it yet.
type BackendStats struct{}

// ServiceTotals count services.
type ServiceTotals struct {
	Total    int `json:"total,omitempty"`
	Internal int `json:"internal,omitempty"`
	External int `json:"external,omitempty"`
}

// DataplanesByType count dataplanes by what they are.
type DataplanesByType struct {
	Standard         Stat `json:"standard"`
	Gateway          Stat `json:"gateway"` // of both kinds
	GatewayBuiltin   Stat `json:"gatewayBuiltin"`
	GatewayDelegated Stat `json:"gatewayDelegated"`
}

// A GlobalInsight tells how everything fares. Unlike others it says its zeros.
type GlobalInsight struct {
	CreatedAt  time.Time        `json:"createdAt"`
	Dataplanes GlobalDataplanes `json:"dataplanes"`
	Meshes     Total            `json:"meshes"`
	Policies   Total            `json:"policies"`
	Resources  map[string]Total `json:"resources"`
	Services   GlobalServices   `json:"services"`
	Zones      GlobalZones      `json:"zones"`
}

// A FullStat is a Stat that says its zeros.
type FullStat struct {
	Offline           int `json:"offline"`
	Online            int `json:"online"`
	PartiallyDegraded int `json:"partiallyDegraded"`
	Total             int `json:"total"`
}

// Plus returns both together.
func (f FullStat) Plus(s Stat) FullStat {
	return FullStat{f.Offline + s.Offline, f.Online + s.Online, f.PartiallyDegraded + s.PartiallyDegraded, f.Total + s.Total}
}

// GlobalDataplanes are those of all meshes.
type GlobalDataplanes struct {
	GatewayBuiltin   FullStat `json:"gatewayBuiltin"`
	GatewayDelegated FullStat `json:"gatewayDelegated"`
	Standard         FullStat `json:"standard"`
}

// GlobalServices are those of all meshes.
type GlobalServices struct {
	External         Total    `json:"external"`
	GatewayBuiltin   FullStat `json:"gatewayBuiltin"`
	GatewayDelegated FullStat `json:"gatewayDelegated"`
	Internal         FullStat `json:"internal"`
}

// GlobalZones count what zones consist of.
type GlobalZones struct {
	ControlPlanes ZoneStat `json:"controlPlanes"`
	ZoneEgresses  ZoneStat `json:"zoneEgresses"`
	ZoneIngresses ZoneStat `json:"zoneIngresses"`
}

// A ZoneStat counts what is connected and what there is.
type ZoneStat struct {
	Online int `json:"online"`
	Total  int `json:"total"`
}

// EncodeServiceInsight returns the document of one service.
func EncodeServiceInsight(s ServiceInsight) ([]byte, error) {
	return encodeView("ServiceInsight", s.Mesh, s.Name, s.Created, s.Modified, s)
}

// EncodeMeshInsight returns the document of one mesh.
func EncodeMeshInsight(m mesh.Meta, in MeshInsight) ([]byte, error) {
	return encodeView("MeshInsight", "", m.Name, m.Created, m.Modified, in)
}

// EncodeZoneOverview is EncodeOverview for what has no insight: nothing of it
// is connected. field is under what the spec stands, "zoneIngress".
func EncodeZoneOverview(r mesh.Resource, field string) ([]byte, error) {
	return encodeAs(r.Kind.Name+"Overview", r, map[string]mesh.Spec{field: r.Spec})
}

// encodeView is encodeAs for what is computed and no resource.
func encodeView(name, meshName, view string, created, modified time.Time, fields any) ([]byte, error) {
	head, err := json.Marshal(meta{Type: name, Mesh: meshName, Name: view, CreationTime: timeOrNil(created), ModificationTime: timeOrNil(modified)})
	if err != nil {
		return nil, fmt.Errorf("encode %s %q: %w", name, view, err)
	}
	body, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("encode %s %q: %w", name, view, err)
	}
	head[len(head)-1] = ','
	return append(head, body[1:]...), nil
}
