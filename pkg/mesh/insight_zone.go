package mesh

import "time"

// A ZoneInsight tells how the control plane of a zone fares.
type ZoneInsight struct {
	Subscriptions []ZoneSubscription `json:"subscriptions,omitempty"`
}

// A ZoneSubscription is its stream to the global control plane.
type ZoneSubscription struct {
	ID                string    `json:"id"`
	GlobalInstanceID  string    `json:"globalInstanceId,omitempty"`
	ZoneInstanceID    string    `json:"zoneInstanceId,omitempty"`
	ConnectTime       time.Time `json:"connectTime,omitzero"`
	DisconnectTime    time.Time `json:"disconnectTime,omitzero"`
	Config            string    `json:"config,omitempty"` // JSON
	AuthTokenProvided bool      `json:"authTokenProvided,omitempty"`
}

// A ZoneIngressInsight tells how a ZoneIngress fares.
type ZoneIngressInsight struct {
	Subscriptions []Subscription `json:"subscriptions,omitempty"`
}

// A ZoneEgressInsight tells how a ZoneEgress fares.
type ZoneEgressInsight struct {
	Subscriptions []Subscription `json:"subscriptions,omitempty"`
}

// Validate accepts it: nobody writes one.
func (s *ZoneInsight) Validate() (v Violations) { return nil }

// Validate accepts it: nobody writes one.
func (s *ZoneIngressInsight) Validate() (v Violations) { return nil }

// Validate accepts it: nobody writes one.
func (s *ZoneEgressInsight) Validate() (v Violations) { return nil }
