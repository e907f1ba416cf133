package mesh

import "time"

// A DataplaneInsight tells how the proxy of a dataplane fares.
type DataplaneInsight struct {
	// Subscriptions are its streams, the newest last. One without an end is open.
	Subscriptions []Subscription `json:"subscriptions,omitempty"`
	// MTLS is the workload's certificate; nil: it was given none, or the mesh has
	// no mTLS.
	MTLS *DataplaneMTLS `json:"mTLS,omitempty"`
	// Weft is what Kuma has no words for; nil: nobody has planned for the proxy.
	Weft *Findings `json:"weft,omitempty"`
}

// Connected tells whether a stream is open.
func (in *DataplaneInsight) Connected() bool {
	for _, s := range in.Subscriptions {
		if s.DisconnectTime.IsZero() {
			return true
		}
	}
	return false
}

// DataplaneMTLS tells of the certificate of a workload.
type DataplaneMTLS struct {
	Expires           time.Time `json:"certificateExpirationTime"`
	Regenerated       time.Time `json:"lastCertificateRegeneration"`
	Regenerations     uint32    `json:"certificateRegenerations"` // how many it has had
	IssuedBackend     string    `json:"issuedBackend"`            // of the mesh's mTLS, which signed it
	SupportedBackends []string  `json:"supportedBackends"`        // whose certificates it believes
}

// A Subscription is a proxy's stream.
type Subscription struct {
	ID                     string             `json:"id"`
	ControlPlaneInstanceID string             `json:"controlPlaneInstanceId,omitempty"`
	ConnectTime            time.Time          `json:"connectTime"`
	DisconnectTime         time.Time          `json:"disconnectTime,omitzero"`
	Status                 SubscriptionStatus `json:"status"`
	Version                *ProxyVersion      `json:"version,omitempty"`
}

// A SubscriptionStatus counts responses since the stream began, of all types
// and of those that Kuma names.
type SubscriptionStatus struct {
	LastUpdateTime time.Time `json:"lastUpdateTime,omitzero"`
	Total          Responses `json:"total"`
	CDS            Responses `json:"cds"`
	EDS            Responses `json:"eds"`
	LDS            Responses `json:"lds"`
	RDS            Responses `json:"rds"`
}

// Responses are numbers, as text on the wire.
type Responses struct {
	Sent         uint64 `json:"responsesSent,omitempty,string"`
	Acknowledged uint64 `json:"responsesAcknowledged,omitempty,string"`
	Rejected     uint64 `json:"responsesRejected,omitempty,string"`
}

// A ProxyVersion is which programs a proxy consists of, as they say themselves.
type ProxyVersion struct {
	KumaDP *ProgramVersion `json:"kumaDp,omitempty"` // the agent
	Envoy  *ProgramVersion `json:"envoy,omitempty"`
}

// A ProgramVersion is that of a program.
type ProgramVersion struct {
	Version string `json:"version"`
}

// Findings are what became of a dataplane's policies otherwise than asked.
type Findings struct {
	Warnings []Finding `json:"warnings,omitempty"`
	Refused  []Refusal `json:"refused,omitempty"`
	Problem  string    `json:"problem,omitempty"` // why the proxy has not the newest plan
}

// A Finding is one warning of a plan.
type Finding struct {
	Part string `json:"part"` // of which resource and where
	Text string `json:"text"`
}

// A Refusal is what a proxy does not take; it goes on with what it had.
type Refusal struct {
	Type      string    `json:"type"` // clusters, endpoints, secrets, listeners, routes
	Resources []string  `json:"resources,omitempty"`
	Reason    string    `json:"reason"` // Envoy's words
	At        time.Time `json:"at"`
	// Origins are the policies that had a say in those resources: Timeout "t1".
	Origins []string `json:"origins,omitempty"`
}

// Validate accepts it: nobody writes one.
func (in *DataplaneInsight) Validate() (v Violations) { return nil }
