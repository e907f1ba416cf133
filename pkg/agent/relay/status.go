package relay

import (
	"slices"
	"strings"
	"time"
)

// A Status is how a Relay is, for people and for weft-agent status.
type Status struct {
	ControlPlane SideStatus `json:"controlPlane"`
	Envoy        SideStatus `json:"envoy"`
	Synced       bool       `json:"synced"`
	// Kinds has an entry for clusters, endpoints, secrets, listeners, routes and names,
	// in the order in which Envoy is told.
	Kinds   []KindStatus  `json:"kinds"`
	Secrets SecretsStatus `json:"secrets"`
	Cache   CacheStatus   `json:"cache,omitzero"`
}

// A SideStatus tells of one side's stream.
type SideStatus struct {
	Connected bool `json:"connected"`
	// Since is when the stream came up or went down; zero when there was none.
	Since time.Time `json:"since,omitzero"`
	// LastError is why the last stream, or the last attempt at one, ended.
	LastError string `json:"lastError,omitempty"`
}

// A KindStatus counts the resources of one kind.
type KindStatus struct {
	Kind     string `json:"kind"`
	Version  string `json:"version,omitempty"` // as the control plane calls the whole
	Held     int    `json:"held"`
	Accepted int    `json:"accepted"`
	// Refused lists what the receiver does not take, sorted by name. It goes
	// on with the version that it accepted before.
	Refused []Refusal `json:"refused,omitempty"`
}

// A Refusal is one resource that Envoy does not take.
type Refusal struct {
	Name    string    `json:"name"`
	Version string    `json:"version"`
	Words   string    `json:"words"` // Envoy's
	At      time.Time `json:"at"`
}

// SecretsStatus tells what Envoy has by SDS.
type SecretsStatus struct {
	Version string `json:"version,omitempty"` // what is in force
	// Accepted is the version that Envoy took last.
	Accepted string `json:"accepted,omitempty"`
	// LastRefusal is Envoy's words; empty once it accepted again.
	LastRefusal string `json:"lastRefusal,omitempty"`
}

// Status returns how the relay is now.
func (r *Relay) Status() Status {
	current, _ := r.cfg.Secrets.Current()
	kept := r.cacheStatus()
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Status{
		ControlPlane: r.up.status(),
		Envoy:        r.down.status(),
		Synced:       r.isSync,
		Cache:        kept,
		Secrets: SecretsStatus{
			Version: current.Version, Accepted: r.sds.accepted, LastRefusal: r.sds.words,
		},
	}
	for i, k := range kinds {
		s.Kinds = append(s.Kinds, r.table[i].status(k.name))
	}
	return s
}

func (l *link) status() SideStatus {
	return SideStatus{Connected: l.open, Since: l.since, LastError: l.err}
}

func (t *holding) status(name string) KindStatus {
	s := KindStatus{Kind: name, Version: t.version, Accepted: len(t.accepted)}
	for _, res := range t.desired {
		if res != nil {
			s.Held++
		}
	}
	for name, ref := range t.refused {
		s.Refused = append(s.Refused, Refusal{Name: name, Version: ref.version, Words: ref.words, At: ref.at})
	}
	slices.SortFunc(s.Refused, func(a, b Refusal) int { return strings.Compare(a.Name, b.Name) })
	return s
}
