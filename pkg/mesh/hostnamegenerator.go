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
func (s *HostnameGenerator) Validate() (v Violations) {
	c := &s.Spec
	if sel, at := c.Selector, "spec.selector"; sel == nil {
		v.Add(at, "must be given, as in {meshService: {matchLabels: {kuma.io/env: universal}}}")
	} else {
		v = append(v, exactlyOne(at, map[string]bool{
			"meshService": sel.MeshService != nil, "meshExternalService": sel.MeshExternalService != nil,
			"meshMultiZoneService": sel.MeshMultiZoneService != nil,
		})...)
		v = append(v, sel.MeshService.validate(field(at, "meshService"))...)
		v = append(v, sel.MeshExternalService.validate(field(at, "meshExternalService"))...)
		v = append(v, sel.MeshMultiZoneService.validate(field(at, "meshMultiZoneService"))...)
	}
	if c.Extension != nil {
		v = append(v, notEmpty("spec.extension.type", c.Extension.Type)...)
	} else if c.Template == "" {
		v.Add("spec.template", `must be given, as in "{{ .DisplayName }}.svc.mesh.local"`)
	}
	sample := map[string]any{"DisplayName": "a", "Name": "a", "Zone": "z", "Namespace": "n", "Mesh": "m"}
	host, bad := trySample("spec.template", c.Template, sample)
	if len(bad) == 0 && c.Template != "" {
		bad = validateHostname("spec.template", host)
	}
	return append(v, bad...)
}
