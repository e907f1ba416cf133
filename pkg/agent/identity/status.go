package identity

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"time"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// Status is how a host's identity is, for people.
type Status struct {
	ID       proxy.ID    `json:"id"`
	Agent    Certificate `json:"agent"`
	Workload Certificate `json:"workload"` // zero: none, as the mesh has no mTLS or the host never registered
	// Roots are whom the workload's peers are verified with, as Issuer is
	// written; two while the mesh's authority rotates.
	Roots []string `json:"roots,omitempty"`
	// Authority is that of the control plane that signed the agent's certificate;
	// Authorities are all whom this host takes for the control plane.
	Authority   string   `json:"authority"`
	Authorities []string `json:"authorities,omitempty"`
	// RidesOut is for how long this host can do without a control plane, when
	// it goes away at the worst moment: from renewal to expiry.
	RidesOut time.Duration `json:"ridesOut"`
	// Registered tells that the control plane took the newest Dataplane.
	Registered bool      `json:"registered"`
	LastTry    time.Time `json:"lastTry,omitzero"`
	LastError  string    `json:"lastError,omitempty"` // of the last try; "" when it went well
	// PutOut is why this host is none of the mesh's any more; "": it is.
	PutOut string `json:"putOut,omitempty"`
	// Heard is when a control plane was heard last: now, while one is connected.
	Heard time.Time `json:"heard,omitzero"`
	// Grace: peers with expired certificates are let in, since none of them
	// could have a newer one. GraceFrom is when it begins if no control plane
	// is heard until then, GraceUntil when it ends at the latest; both are zero
	// where the mesh wants none (FailClosed) or has no mTLS.
	Grace      bool      `json:"grace,omitempty"`
	GraceFrom  time.Time `json:"graceFrom,omitzero"`
	GraceUntil time.Time `json:"graceUntil,omitzero"`
	FailClosed bool      `json:"failClosed,omitempty"`
	// ControlPlanes are the addresses that are tried, in no order.
	ControlPlanes []string `json:"controlPlanes,omitempty"`
	// ControlPlane is the address of the one that was heard last.
	ControlPlane string `json:"controlPlane,omitempty"`
	// Unsaved is why the newest certificates are not on disk.
	Unsaved string `json:"unsaved,omitempty"`
	// PassedOver lists the files that were not used at the start, and why.
	PassedOver []string `json:"passedOver,omitempty"`
}

// Certificate is one certificate, without its key.
type Certificate struct {
	URIs    []string  `json:"uris,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
	Renewal time.Time `json:"renewal,omitzero"` // when the next one is asked for
	Expired bool      `json:"expired,omitempty"`
	// Issuer is the SHA-256 of its authority's SubjectPublicKeyInfo, in hex.
	Issuer string `json:"issuer,omitempty"`
}

// Status tells how the identity is.
func (i *Identity) Status() Status {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.now()
	s := Status{
		ID: i.id, Authority: issuer(i.agent, i.authoritiesPEM()), Authorities: fingerprints(i.authoritiesPEM()),
		Registered: i.asked > 0 && i.taken == i.asked,
		LastTry:    i.lastTry, LastError: i.lastError, PutOut: i.putOut,
		Agent: describe(i.agent.leaf, now),
	}
	s.Agent.Issuer = s.Authority
	s.Heard, s.ControlPlanes, s.ControlPlane = i.contact.at, i.addresses(), i.last
	if i.contact.open > 0 {
		s.Heard = now
	}
	s.Unsaved, s.PassedOver = i.saveFault, slices.Clone(i.files.aside)
	s.RidesOut = s.Agent.Expires.Sub(s.Agent.Renewal)
	if i.workload.leaf != nil {
		s.Workload = describe(i.workload.leaf, now)
		s.Workload.Issuer, s.Roots = issuer(i.workload, i.roots), fingerprints(i.roots)
		s.RidesOut = min(s.RidesOut, s.Workload.Expires.Sub(s.Workload.Renewal))
		s.FailClosed, s.Grace = i.about.FailClosed, i.grace
		if !s.FailClosed {
			s.GraceFrom, s.GraceUntil = s.Heard.Add(graceAfter(i.workload.leaf)), lastEnd(i.roots)
		}
	}
	return s
}

func describe(c *x509.Certificate, now time.Time) Certificate {
	return Certificate{URIs: uris(c), Expires: c.NotAfter, Renewal: renewal(c), Expired: now.After(c.NotAfter)}
}

func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}
