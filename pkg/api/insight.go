package api

import "github.com/weft-mesh/weft/pkg/mesh"

// The words of insights are the mesh's; readers of documents know them by these
// names.
type (
	// DataplaneInsight tells how the proxy of a dataplane fares.
	DataplaneInsight = mesh.DataplaneInsight
	// Subscription is a proxy's stream.
	Subscription = mesh.Subscription
	// SubscriptionStatus counts responses.
	SubscriptionStatus = mesh.SubscriptionStatus
	// Responses are numbers.
	Responses = mesh.Responses
	// ProxyVersion is which programs a proxy consists of.
	ProxyVersion = mesh.ProxyVersion
	// Version is that of a program.
	Version = mesh.ProgramVersion
	// Findings are what became of policies otherwise than asked.
	Findings = mesh.Findings
	// Finding is one warning of a plan.
	Finding = mesh.Finding
	// Refusal is what a proxy does not take.
	Refusal = mesh.Refusal
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
