package mesh

import (
	"encoding/json"
	"regexp"
)

// Labels that the control plane computes.
const (
	MeshLabel            = "kuma.io/mesh"
	ZoneLabel            = "kuma.io/zone"
	OriginLabel          = "kuma.io/origin"
	EnvLabel             = "kuma.io/env"
	DisplayNameLabel     = "kuma.io/display-name"
	ProxyTypeLabel       = "kuma.io/proxy-type"
	ListenerIngressLabel = "kuma.io/listener-zoneingress"
	ListenerEgressLabel  = "kuma.io/listener-zoneegress"
)

// ComputedLabels are all of those.
var ComputedLabels = []string{
	MeshLabel, ZoneLabel, OriginLabel, EnvLabel, DisplayNameLabel, ProxyTypeLabel, ListenerIngressLabel, ListenerEgressLabel,
}

// Labels that people set and that mean something.
const (
	// WorkloadLabel is how people name what runs behind a Dataplane.
	WorkloadLabel = "kuma.io/workload"
	// EffectLabel with the value "shadow" has a policy by targetRef shown and
	// not followed.
	EffectLabel = "kuma.io/effect"
)

// Own returns the meta of a resource that the control plane makes itself, with
// the label that it gives all in a mesh.
func Own(k Key) Meta {
	m := Meta{Mesh: k.Mesh, Name: k.Name}
	if k.Mesh != "" {
		m.Labels = map[string]string{MeshLabel: k.Mesh}
	}
	return m
}

var dnsLabel = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`)

// IsDNSLabel tells whether name can be one label of a host name, as in RFC 1035.
func IsDNSLabel(name string) bool { return dnsLabel.MatchString(name) }

// validateMeaning checks the labels that mean something.
func (r Resource) validateMeaning() (v Violations) {
	if w, ok := r.Meta.Labels[WorkloadLabel]; ok && r.Kind == DataplaneKind && !dnsLabel.MatchString(w) {
		v.Add(keyed("labels", WorkloadLabel), `must be letters in lower case, digits and "-" alone, a letter first, and at most %d of them`, MaxLabel)
	}
	if e, ok := r.Meta.Labels[EffectLabel]; ok && e != "shadow" {
		v.Add(keyed("labels", EffectLabel), `must be "shadow", or left out`)
	} else if ok && (r.Kind.Policy == nil || !r.Kind.Policy.TargetRef) {
		v.Add(keyed("labels", EffectLabel), "must be left out: a %s is always followed", r.Kind.Name)
	}
	return v
}

// Labels are what a resource carries beside its name. As a pointer, none and
// an empty set are two things.
type Labels map[string]string

// MarshalJSON keeps an empty set apart from none.
func (l Labels) MarshalJSON() ([]byte, error) {
	if l == nil {
		l = Labels{}
	}
	return json.Marshal(map[string]string(l))
}
