package mesh

import (
	"slices"
	"strings"
)

// refFields says which fields a TargetRef of a kind may have. Where it may have
// a name it may have labels in its place, unless it needs the name.
var refFields = map[string]struct {
	name, needsName, needsAny bool // needsAny: name or labels
	tags, section, proxyTypes bool
	mesh                      bool
}{
	RefMesh:             {proxyTypes: true},
	RefMeshSubset:       {tags: true, proxyTypes: true},
	RefDataplane:        {name: true, section: true},
	RefService:          {name: true, needsAny: true, section: true, mesh: true},
	RefServiceSubset:    {name: true, needsName: true, tags: true, mesh: true},
	RefExternalService:  {name: true, needsAny: true, section: true},
	RefMultiZoneService: {name: true, needsAny: true, section: true},
	RefGateway:          {name: true, needsName: true, tags: true},
	RefHTTPRoute:        {name: true, needsAny: true},
}

// validate checks a reference that may be of the kinds that are allowed. None
// at all is for the caller to judge.
func (r *TargetRef) validate(path string, allowed []string) (v Violations) {
	if r == nil {
		return nil
	}
	v = append(v, listed(field(path, "kind"), r.Kind, allowed)...)
	f, known := refFields[r.Kind]
	if !known {
		return v
	}
	leave := func(name string, given bool) {
		if given {
			v.Add(field(path, name), "must be left out for the kind %s", r.Kind)
		}
	}
	leave("name", r.Name != "" && !f.name)
	leave("namespace", r.Namespace != "" && !f.name)
	leave("labels", len(r.Labels) > 0 && (!f.name || f.needsName))
	leave("mesh", r.Mesh != "" && !f.mesh)
	leave("tags", len(r.Tags) > 0 && !f.tags)
	leave("sectionName", r.SectionName != "" && !f.section)
	leave("proxyTypes", len(r.ProxyTypes) > 0 && !f.proxyTypes)
	switch both := r.Name != "" && len(r.Labels) > 0; {
	case f.name && !f.needsName && both:
		v.Add(field(path, "labels"), "must be left out where there is a name")
	case f.needsName && r.Name == "":
		v.Add(field(path, "name"), "must be given for the kind %s", r.Kind)
	case f.needsAny && r.Name == "" && len(r.Labels) == 0:
		v.Add(field(path, "name"), "must be given for the kind %s, or labels in its place", r.Kind)
	}
	if r.Name != "" && !tagValue.MatchString(r.Name) {
		v.Add(field(path, "name"), valueRule)
	}
	v = append(v, validateMatchTags(field(path, "tags"), r.Tags)...)
	v = append(v, validateMatchLabels(field(path, "labels"), r.Labels)...)
	for i, t := range r.ProxyTypes {
		v = append(v, listed(field(path, "proxyTypes", i), t, []string{refSidecar, refProxy})...)
	}
	return v
}

// needed is validate for a reference that has to be there.
func (r *TargetRef) needed(path string, allowed []string) (v Violations) {
	if r == nil {
		v.Add(path, `must be given, with a kind: one of %s`, strings.Join(allowed, ", "))
		return v
	}
	return r.validate(path, allowed)
}

// validateMatchLabels checks labels that resources are picked by.
func validateMatchLabels(path string, labels map[string]string) (v Violations) {
	for _, w := range ValidateLabels(labels) {
		w.Field = path + strings.TrimPrefix(w.Field, "labels")
		v = append(v, w)
	}
	return v
}

// backends are what a route may lead to.
var backends = []string{RefService, RefServiceSubset, RefExternalService, RefMultiZoneService}

func (b *BackendRef) ref() *TargetRef {
	return &TargetRef{
		Kind: b.Kind, Name: b.Name, Namespace: b.Namespace, Labels: b.Labels, Mesh: b.Mesh, Tags: b.Tags, SectionName: b.SectionName,
	}
}

func (b *BackendRef) validate(path string) (v Violations) {
	v = append(v, b.ref().validate(path, backends)...)
	v = append(v, validateOptionalPort(field(path, "port"), b.Port)...)
	needsPort := []string{RefMultiZoneService}
	if b.Port == 0 && b.SectionName == "" && slices.Contains(needsPort, b.Kind) {
		v.Add(field(path, "port"), "must be given for the kind %s", b.Kind)
	}
	return v
}

func validateBackendRefs(path string, refs []BackendRef) (v Violations) {
	sum := uint64(0)
	for i := range refs {
		v = append(v, refs[i].validate(field(path, i))...)
		w := uint64(1)
		if refs[i].Weight != nil {
			w = uint64(*refs[i].Weight)
		}
		sum += w
	}
	if len(refs) > 0 && sum == 0 {
		v.Add(path, "must have a weight above 0")
	}
	return v
}
