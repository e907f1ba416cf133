package api

import "github.com/weft-mesh/weft/pkg/mesh"

// What insights consist of, by the names that their readers use here.
type (
	DataplaneInsight   = mesh.DataplaneInsight
	Subscription       = mesh.Subscription
	SubscriptionStatus = mesh.SubscriptionStatus
	Responses          = mesh.Responses
	ProxyVersion       = mesh.ProxyVersion
	Version            = mesh.ProgramVersion
	Findings           = mesh.Findings
	Finding            = mesh.Finding
	Refusal            = mesh.Refusal
)

// EncodeOverview is Encode for a dataplane together with how it fares.
func EncodeOverview(r mesh.Resource, in DataplaneInsight) ([]byte, error) {
	return encodeAs("DataplaneOverview", r, struct {
		Dataplane mesh.Spec        `json:"dataplane"`
		Insight   DataplaneInsight `json:"dataplaneInsight,omitzero"`
	}{r.Spec, in})
}

// EncodeInsight is Encode for how a dataplane fares alone.
func EncodeInsight(r mesh.Resource, in DataplaneInsight) ([]byte, error) {
	return encodeAs("DataplaneInsight", r, in)
}

// EncodeZoneOverview is EncodeOverview for what has no insight: nothing of it
// is connected. field is under what the spec stands, "zoneIngress".
func EncodeZoneOverview(r mesh.Resource, field string) ([]byte, error) {
	return encodeAs(r.Kind.Name+"Overview", r, map[string]mesh.Spec{field: r.Spec})
}
